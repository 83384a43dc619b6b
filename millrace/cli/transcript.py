"""`millrace share transcript`: what was said, to read, to play with the media, or for a program."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Annotated, Final, get_args
from urllib.parse import quote
from uuid import UUID

import typer
from pydantic import BaseModel, ValidationError

from millrace.cli.client import ApiError, Client, NotSettled
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import print_json
from millrace.cli.exits import one_sentence
from millrace.contracts.transcript_api import TranscriptDocument, TranscriptFormat
from millrace.errors import ConfigurationError, Unavailable

_NOT_NOW: Final = 409


class Fetched(BaseModel):
    """What `--json` prints of a transcript that is not JSON itself, or that was written to a file."""

    share_id: str
    format: TranscriptFormat
    size_bytes: int
    output: str | None = None
    content: str | None = None


def transcript(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    kind: Annotated[
        TranscriptFormat | None,
        typer.Option("--format", help="By default what the file's name ends with, else txt (with --json: json)"),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, instead of printing")] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """What was said in a share: text, subtitles (srt, vtt) or JSON with times. Ends 75 while it is not ready."""
    chosen = kind or _by_name(output) or ("json" if as_json else "txt")
    with one_sentence():
        if output is not None:
            check_output(output)  # before anything is asked
        with connect(gateway) as client:
            content = fetched(client, str(share_id), chosen)
        if output is not None:
            write_whole(output, content)
            typer.echo(f"Wrote {len(content)} bytes to {output}.", err=True)
    known = Fetched(share_id=str(share_id), format=chosen, size_bytes=len(content))
    if output is not None:
        if as_json:
            print_json(known.model_copy(update={"output": str(output)}))
    elif not as_json:
        typer.echo(content, nl=chosen == "json")
    elif chosen == "json":
        print_json(TranscriptDocument.model_validate_json(content))
    else:
        print_json(known.model_copy(update={"content": content.decode()}))


def fetched(client: Client, share_id: str, kind: TranscriptFormat) -> bytes:
    """The transcript in one format, in UTF-8.

    :raises NotSettled: it is not ready.
    :raises Unavailable: what answers is no transcript.
    """
    try:
        content = client.content(f"/shares/{quote(share_id, safe='')}/transcript", format=kind)
        if kind == "json":
            TranscriptDocument.model_validate_json(content)
        content.decode()
    except ApiError as exc:
        if exc.problem.status == _NOT_NOW:
            raise NotSettled(str(exc)) from exc
        raise
    except (ValidationError, UnicodeDecodeError) as exc:
        raise Unavailable("What answers there is not a Millrace gateway: it sent no transcript.") from exc
    return content


def check_output(path: Path) -> None:
    """See that a file can be written before there is something to write.

    :raises ConfigurationError: its folder is not there, or something else has its name.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"There is no folder {path.parent}: make it first, or name another --output.")
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} is there and is no file: name another --output.")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or leave what was there: it is written aside, made durable and renamed.

    :raises ConfigurationError: it cannot be written.
    """
    target = path.resolve()  # through a link to the file that it means
    aside = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.part")
    try:
        try:
            with aside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:  # also when somebody interrupts it
            aside.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise ConfigurationError(f"The file {path} cannot be written ({exc.strerror}).") from exc


def _by_name(output: Path | None) -> TranscriptFormat | None:
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return next((kind for kind in get_args(TranscriptFormat) if kind == suffix), None)
