from __future__ import annotations

import pytest

from services.api_gateway.errors import Forbidden, WrongHost
from services.api_gateway.guard import ANY_HOST, LOOPBACK, check


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_loopback_names_are_answered(host: str) -> None:
    check("POST", host, None, LOOPBACK)


@pytest.mark.parametrize("host", ["evil.example:8080", "", "127.0.0.1.evil.example", "[::1"])
def test_a_name_that_was_bound_to_loopback_by_somebody_else_is_not(host: str) -> None:
    with pytest.raises(WrongHost):
        check("GET", host, None, LOOPBACK)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", "http://["])
def test_pages_of_other_sites_cannot_change_anything(origin: str) -> None:
    with pytest.raises(Forbidden):
        check("POST", "localhost:8080", origin, LOOPBACK)


def test_pages_of_the_gateway_itself_can() -> None:
    check("POST", "localhost:8080", "http://localhost:8080", LOOPBACK)


def test_any_host_may_be_allowed_but_never_another_sites_page() -> None:
    check("POST", "api.example.org", None, {ANY_HOST})
    with pytest.raises(Forbidden):
        check("POST", "api.example.org", "https://evil.example", {ANY_HOST})


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_and_ports_read_nothing_and_search_for_nothing(site: str) -> None:
    for mode in ("no-cors", "cors", "navigate", None):
        with pytest.raises(Forbidden):
            check("GET", "localhost:8080", None, LOOPBACK, path="/search", site=site, mode=mode)
    with pytest.raises(Forbidden):
        check("GET", "localhost:8080", None, LOOPBACK, path="/", site=site, mode="no-cors")
    check("GET", "localhost:8080", None, LOOPBACK, path="/", site=site, mode="navigate")


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_the_page_itself_a_typed_address_and_programs_may_ask(site: str | None) -> None:
    check("GET", "localhost:8080", None, LOOPBACK, path="/search", site=site, mode="cors")
