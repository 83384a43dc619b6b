"""What of a site's words and numbers can be told to the parent: JSON that every reader takes."""

from __future__ import annotations

import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 2**63  # seconds and bytes alike


def plain(value: object) -> object:
    """The same without lone surrogates, which no UTF-8 has, and numbers that JSON has not, or only some readers.

    Such a number becomes None, as if the site had not said it; what is no JSON at all, its text.

    :raises RecursionError: it is nested too deeply.
    """
    match value:
        case None | bool():
            return value
        case int() | float():
            return value if abs(value) < _LARGEST else None
        case dict():
            return {str(plain(str(name))): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
    return _LONE_SURROGATE.sub("\ufffd", str(value))
