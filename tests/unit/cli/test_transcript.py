"""`millrace share transcript`: the file as the gateway sent it, on standard output or whole on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from millrace.contracts.transcript_api import Billing, TranscriptDocument
from tests.support.command_line import run, sentence
from tests.unit.cli.build import ID

SRT = "1\n00:00:00,000 --> 00:00:01,000\nZ\u00fcrich\n\n"
DOCUMENT = TranscriptDocument(
    text="Z\u00fcrich", duration=1.5, billing=Billing(backend="local", model="m", seconds=1.0)
)


class Gateway:
    """Answers each format with content of its own, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.params["format"]
        self.asked.append((request.url.path, kind))
        content = {"srt": SRT, "json": DOCUMENT.model_dump_json()}.get(kind, f"{kind}: Z\u00fcrich\n")
        return httpx.Response(200, content=content.encode())


def test_it_is_printed_as_it_was_sent_text_by_default() -> None:
    gateway = Gateway()
    assert run(gateway, "share", "transcript", ID).stdout_bytes == "txt: Z\u00fcrich\n".encode()
    assert run(gateway, "share", "transcript", ID, "--format", "srt").stdout_bytes == SRT.encode()
    assert gateway.asked == [(f"/shares/{ID}/transcript", "txt"), (f"/shares/{ID}/transcript", "srt")]


@pytest.mark.parametrize(
    ("name", "kind"), [("talk.vtt", "vtt"), ("talk.SRT", "srt"), ("talk", "txt"), ("x.mp4", "txt")]
)
def test_a_file_is_written_in_the_format_of_its_name(tmp_path: Path, name: str, kind: str) -> None:
    gateway, file = Gateway(), tmp_path / name
    result = run(gateway, "share", "transcript", ID, "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Wrote {file.stat().st_size} bytes to {file}.\n"
    assert gateway.asked[0][1] == kind
    assert "Z\u00fcrich" in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "talk.srt"
    file.write_text("as it was")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("millrace.cli.transcript.os.fsync", full)
    result = run(Gateway(), "share", "transcript", ID, "-o", str(file))
    assert result.exit_code == 78
    assert "cannot be written (No space left on device)" in sentence(result)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"talk.srt": "as it was"}
    monkeypatch.undo()
    assert run(Gateway(), "share", "transcript", ID, "-o", str(file)).exit_code == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"talk.srt": SRT}


def test_a_link_stays_one_and_its_file_is_written(tmp_path: Path) -> None:
    link, file = tmp_path / "link.srt", tmp_path / "file"
    link.symlink_to(file)
    assert run(Gateway(), "share", "transcript", ID, "-o", str(link)).exit_code == 0
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == SRT


@pytest.mark.parametrize("name", ["nowhere/talk.srt", "."])
def test_where_nothing_can_be_written_nothing_is_asked(tmp_path: Path, name: str) -> None:
    gateway = Gateway()
    result = run(gateway, "share", "transcript", ID, "-o", str(tmp_path / name))
    assert result.exit_code == 78
    assert "--output" in sentence(result)
    assert gateway.asked == []


def test_json_is_one_document_of_ascii_whatever_was_asked_for(tmp_path: Path) -> None:
    plain = run(Gateway(), "share", "transcript", ID, "--json")
    assert TranscriptDocument.model_validate_json(plain.stdout) == DOCUMENT
    assert plain.stdout.isascii()
    subtitles = json.loads(run(Gateway(), "share", "transcript", ID, "--json", "--format", "srt").stdout)
    assert (subtitles["format"], subtitles["content"], subtitles["output"]) == ("srt", SRT, None)
    file = tmp_path / "talk.srt"
    written = json.loads(run(Gateway(), "share", "transcript", ID, "--json", "-o", str(file)).stdout)
    assert (written["output"], written["size_bytes"]) == (str(file), len(SRT.encode()))


@pytest.mark.parametrize(("status", "code"), [(404, 1), (409, 75), (503, 69)])
def test_a_transcript_that_is_not_there_is_a_sentence_and_says_whether_it_may_come(
    tmp_path: Path, status: int, code: int
) -> None:
    problem = {"title": "x", "status": status, "detail": "The transcript is not ready: transcribe is running."}
    file = tmp_path / "talk.srt"
    result = run(lambda _: httpx.Response(status, json=problem), "share", "transcript", ID, "-o", str(file))
    assert result.exit_code == code
    assert sentence(result) == f"millrace: {problem['detail']}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["json", "srt"])
def test_what_is_no_gateway_is_said(kind: str) -> None:
    answer = httpx.Response(200, content=b"<html>\xff")
    result = run(lambda _: answer, "share", "transcript", ID, "--format", kind)
    assert result.exit_code == 69
    assert "not a Millrace gateway" in sentence(result)


def test_a_format_that_there_is_not_asks_nothing() -> None:
    gateway = Gateway()
    assert run(gateway, "share", "transcript", ID, "--format", "docx").exit_code == 2
    assert gateway.asked == []
