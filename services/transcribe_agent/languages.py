"""Languages by their ISO 639-1 codes. Pure.

faster-whisper answers with codes, OpenAI's API with the names of Whisper's own list.
"""

from __future__ import annotations

from typing import Final

import iso639

_CODE: Final = 3  # letters at most
# Names of Whisper that are not the standard's own.
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
}


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
