"""Languages by their ISO 639-1 codes. Pure.

faster-whisper answers with codes of its own list, OpenAI's API with the names of it.
"""

from __future__ import annotations

from typing import Final

import iso639

_CODE: Final = 3  # letters at most
# Names and codes of Whisper that are not the standard's own.
_OTHER_NAMES: Final = {
    "greek": "el",
    "malay": "ms",
    "myanmar": "my",
    "nepali": "ne",
    "nynorsk": "nn",
    "occitan": "oc",
    "swahili": "sw",
    "cantonese": "yue",
    "mandarin": "zh",
    "jw": "jv",
}
# Standard codes that Whisper has another one for, so that servers refuse them.
_UNKNOWN_TO_SERVERS: Final = frozenset({"jv"})


def code_of(language: str | None) -> str | None:
    """The code of a language that is given by name or code; None for one that nobody knows."""
    name = (language or "").strip().lower()
    if not name:
        return None
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    try:
        found = (
            iso639.Language.from_part1(name) if len(name) < _CODE else iso639.Language.match(name, strict_case=False)
        )
    except iso639.LanguageNotFoundError:
        return None
    return found.part1 or found.part3


def hint_of(code: str | None) -> str | None:
    """What any server may be told: a code of two letters that all of them know; the others it finds out by itself."""
    return code if code is not None and len(code) < _CODE and code not in _UNKNOWN_TO_SERVERS else None
