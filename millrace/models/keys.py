"""Keys of APIs, as they are sent. Pure."""

from __future__ import annotations

from pydantic import SecretStr

from millrace.errors import ConfigurationError

_NONE = "none"  # for servers that ask for none: an SDK would look for another key where it is given nothing


def key_to_send(key: SecretStr | None, *, variable: str) -> str:
    """The key without the space around it, such as the line's end of the file that it was read from.

    :param variable: that holds it, for the error.
    :raises ConfigurationError: no header can hold it. A client would say so at every call, and repeat the key.
    """
    found = key.get_secret_value().strip() if key else _NONE
    if not all("!" <= sign <= "~" for sign in found):
        raise ConfigurationError(f"{variable} holds a space, a line's end or another sign that no key has")
    return found or _NONE
