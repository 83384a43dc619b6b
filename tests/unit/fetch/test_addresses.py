from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Poison
from millrace.fetch.addresses import Target, TargetRefused, is_address, is_public, target_of, target_of_authority

PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::",
    "3fff::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_on_the_public_internet_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_taken(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_mapping_an_address_into_ipv6_changes_nothing(address: IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/a.mp4", "only http and https"),
        ("http:///a.mp4", "only http and https"),
        ("example.org/a.mp4", "only http and https"),
        ("http://example.org/" + "a" * 5000, "only http and https"),
        ("http://me:secret@example.org/a.mp4", "user name or a password"),
        ("http://@example.org/a.mp4", "user name or a password"),
        ("http://example.org:22/a.mp4", "port 22"),
        ("http://example.org:99999/", "can be read"),
        ("http://[::1/", "can be read"),
    ],
)
def test_urls_that_are_never_fetched_say_why_without_repeating_secrets(url: str, reason: str) -> None:
    with pytest.raises(Poison, match=reason) as refused:
        target_of(url, frozenset())
    assert "secret" not in str(refused.value)


def test_an_allowed_host_is_allowed_on_its_port_only() -> None:
    allow = frozenset({"media.internal:9000"})
    assert target_of("http://MEDIA.internal:9000/a", allow).allowed
    assert not target_of("http://media.internal/a", allow).allowed
    assert not target_of("http://media.internal.example.org:8080/a", allow).allowed


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("Example.ORG:443", "example.org", 443),
        ("example.org.:443", "example.org", 443),
        ("93.184.215.14:80", "93.184.215.14", 80),
        ("[2606:4700::1111]:443", "2606:4700::1111", 443),
        ("xn--bcher-kva.example:8080", "xn--bcher-kva.example", 8080),
        ("under_score.example:80", "under_score.example", 80),
    ],
)
def test_a_proxy_reads_plain_hosts_and_ports(authority: str, host: str, port: int) -> None:
    assert target_of_authority(authority, frozenset()) == Target(host, port, allowed=False)


@given(st.text(alphabet="0179afx.:[]%@/-_\\\uff11 ", max_size=24))
def test_a_proxy_reads_nothing_but_names_and_canonical_addresses(text: str) -> None:
    target = read(text)
    if target is not None:
        assert is_address(target.host) or not target.host.rpartition(".")[2].isdecimal()
        assert target.host.isascii()
        assert not set(target.host) & set("@%/\\ ?#[]")


def read(authority: str) -> Target | None:
    try:
        return target_of_authority(authority, frozenset(), frozenset(range(65_536)), default_port=80)
    except TargetRefused:
        return None


@pytest.mark.parametrize("host", ["a..b", ".a", "a..", f"{'a' * 64}.example", "."])
def test_names_that_cannot_be_are_refused_before_they_are_resolved(host: str) -> None:
    with pytest.raises(TargetRefused, match="not a host"):
        target_of_authority(f"{host}:443", frozenset())
    assert target_of_authority(f"{'a' * 63}.example:443", frozenset()).port == 443


def test_a_proxy_asks_for_a_port_where_none_is_usual() -> None:
    assert target_of_authority("example.org", frozenset(), default_port=80).port == 80
    with pytest.raises(TargetRefused):
        target_of_authority("example.org", frozenset())


def test_a_place_that_is_allowed_is_so_however_it_is_written() -> None:
    allow = frozenset({"media.internal:9000"})
    assert target_of_authority("MEDIA.internal.:9000", allow).allowed
    with pytest.raises(TargetRefused, match="port 9001"):
        target_of_authority("media.internal:9001", allow)
