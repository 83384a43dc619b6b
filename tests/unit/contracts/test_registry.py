"""What the registry's address may show."""

from __future__ import annotations

import pytest

from millrace.contracts.registry import Registry, without_credentials
from millrace.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8081/apis/ccompat/v7", "http://127.0.0.1:8081/apis/ccompat/v7"),
        ("https://me:pass@word@registry:443/x", "https://registry:443/x"),
        ("http://a:b@one:1,http://a:b@two:2", "http://one:1,http://two:2"),
    ],
)
def test_credentials_are_never_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_an_address_that_is_no_url_is_a_mistake_of_configuration() -> None:
    with pytest.raises(ConfigurationError, match="kafka:9092 is not the URL"):
        Registry("kafka:9092")
