"""What `millrace storage` answers, and how people read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.console import compact, plain

if TYPE_CHECKING:
    from millrace.store.blobs.bucket import Finding
    from millrace.store.blobs.check import Step

_NEEDED = "lifecycle"


class SetUpLine(BaseModel):
    """One setting of the bucket, as it was read back."""

    name: str
    state: Literal["set", "not implemented", "failed"]
    detail: str


class SetUp(BaseModel):
    """What `setup` came to; `ok`: temporary media expires, and nothing was refused."""

    bucket: str
    ok: bool
    settings: list[SetUpLine]

    @classmethod
    def of(cls, bucket: str, found: Iterable[Finding]) -> Self:
        """The answer for what was found."""
        lines = [SetUpLine(name=one.name, state=one.state, detail=one.detail) for one in found]
        bad = [line for line in lines if line.state == "failed" or (line.name == _NEEDED and line.state != "set")]
        return cls(bucket=bucket, ok=not bad, settings=lines)


class CheckedLine(BaseModel):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str


class Checked(BaseModel):
    """What `check` came to."""

    mode: Literal["local", "s3", "hybrid"]
    ok: bool
    steps: list[CheckedLine]

    @classmethod
    def of(cls, mode: Literal["local", "s3", "hybrid"], steps: Iterable[Step]) -> Self:
        """The answer for what was tried."""
        lines = [CheckedLine(name=step.name, ok=step.ok, detail=step.detail) for step in steps]
        return cls(mode=mode, ok=all(line.ok for line in lines), steps=lines)


class HealedAnswer(BaseModel):
    """What `heal` came to, and why something is left."""

    moved: int
    left: int
    reason: str | None


class UrlAnswer(BaseModel):
    """Where an object is; `presigned` is None for one in the local folder."""

    key: str
    url: str
    presigned: str | None


def set_up_report(answer: SetUp) -> RenderableType:
    """One line a setting."""
    table = compact("setting", "state", "what it is now")
    for line in answer.settings:
        table.add_row(line.name, line.state, plain(line.detail))
    if answer.ok:
        return table
    return Group(table, Text("Temporary media does not expire, or a setting was refused: see the lines above."))


def checked_report(answer: Checked) -> RenderableType:
    """One line a step."""
    return Group(*(plain(f"{'ok  ' if line.ok else 'FAIL'} {line.name}: {line.detail}") for line in answer.steps))


def healed_report(answer: HealedAnswer) -> RenderableType:
    """One sentence."""
    if answer.left:
        return plain(
            f"{answer.moved} files are in S3 now, {answer.left} are left: {answer.reason or 'not written yet'}"
        )
    return plain(f"{answer.moved} files are in S3 now; none is left.")


def url_report(answer: UrlAnswer) -> RenderableType:
    """The URL to use."""
    return plain(answer.presigned or answer.url)
