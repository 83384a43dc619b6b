"""How an answer is represented: its format by the Accept header, and its name as a file. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote

F = TypeVar("F", bound=str)

_LONGEST_NAME: Final = 80
_NOT_IN_NAMES: Final = re.compile(r'[\\/:*?"<>|%]')
"""What a file system, or a reader of the header, takes for something else."""


def preferred(accept: str | None, offered: Mapping[F, str]) -> F:
    """The offered format whose media type a client likes best (RFC 9110, 12.5.1); the first one in doubt.

    A client that takes none of them gets the first one, too, which the RFC allows.

    :param offered: media type by format, the preferred one first.
    """
    wishes = [_wish(part) for part in (accept or "*/*").split(",")]
    weights = {kind: _weight(media_type.partition(";")[0], wishes) for kind, media_type in offered.items()}
    return max(weights, key=lambda kind: weights[kind])  # the first of equals


def attachment(title: str | None, suffix: str) -> str:
    """Content-Disposition of a file to keep (RFC 6266): its name in ASCII, and in full where that is another one.

    >>> print(attachment("Z\u00fcrich: a talk", "srt"))
    attachment; filename="Zurich a talk.srt"; filename*=UTF-8''Z%C3%BCrich%20a%20talk.srt
    """
    name = _name(title or "")
    plain = _name(unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
    value = f'attachment; filename="{plain or "transcript"}.{suffix}"'
    if name and name != plain:
        value += f"; filename*=UTF-8''{quote(f'{name}.{suffix}', safe='')}"
    return value


def _name(title: str) -> str:
    """A title as the name of a file: on one line, without paths, commands to terminals and reversed writing."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in title)
    return " ".join(_NOT_IN_NAMES.sub(" ", visible).split())[:_LONGEST_NAME].strip(" .")


def _wish(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"), "1")
    return media_range, float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality.strip()) else 0.0


def _weight(media_type: str, wishes: list[tuple[str, float]]) -> float:
    """That of the range that says most about the type."""
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    found = [(ranges.index(media_range), quality) for media_range, quality in wishes if media_range in ranges]
    return max(found)[1] if found else 0.0
