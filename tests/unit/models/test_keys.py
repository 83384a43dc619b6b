from __future__ import annotations

import pytest
from pydantic import SecretStr

from millrace.errors import ConfigurationError
from millrace.models.keys import key_to_send


@pytest.mark.parametrize(("key", "sent"), [("sk-1", "sk-1"), (" sk-1\r\n", "sk-1"), (" ", "none"), (None, "none")])
def test_a_key_is_sent_without_the_space_around_it(key: str | None, sent: str) -> None:
    assert key_to_send(None if key is None else SecretStr(key), variable="KEY") == sent


@pytest.mark.parametrize(
    "key", ["sk-secret\nX-Other: 1", "sk-secret\0", "sk-secret two", "sk-secret\u20ac", "sk-secret\x7f"]
)
def test_what_no_header_can_hold_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError, match="KEY holds") as refused:
        key_to_send(SecretStr(key), variable="KEY")
    assert "secret" not in str(refused.value)
