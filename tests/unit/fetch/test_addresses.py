from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Poison
from millrace.fetch.addresses import is_public, target_of

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
