"""Files that players and people read: nothing in them is what the words of a stranger have made of them."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pysubs2
import pytest
from hypothesis import given

from millrace.contracts.events import Segment
from millrace.contracts.transcript_api import Billing, TranscriptDocument, TranscriptFormat
from millrace.transcripts.cues import Cue, make_cues
from millrace.transcripts.formats import document_of, rendered
from millrace.transcripts.paragraphs import plain_text
from millrace.transcripts.subtitles import srt, vtt
from millrace.transcripts.tokens import cleaned
from tests.unit.transcripts.build import JFK, bad_segments, said, spoken

HOSTILE = [
    "<b>bold</b> <script>alert(1)</script>",
    "{\\an8}{\\p1}drawn C:\\new\\Night\\hot {braces}",
    "1 --> 2 00:00:09.000 --> 00:00:10.000",
    "a\n\n7\n00:00:01,000 --> 00:00:02,000\nforged",
    "WEBVTT NOTE STYLE ::cue & &lt; &amp; &nbsp; <00:00:01.000>",
    "\x1b[2J\x00\u2028\x85\ufdd0\uffff end",
]
VTT_TIME = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def read_vtt(content: str) -> list[Cue]:
    """A reader of WebVTT by the letter of its grammar; anything that it does not know fails."""
    header, *blocks = content.removesuffix("\n\n").split("\n\n") if content != "WEBVTT\n\n" else ["WEBVTT"]
    assert header == "WEBVTT"
    cues = []
    for number, block in enumerate(blocks, 1):
        name, timing, *lines = block.split("\n")
        assert name == str(number)
        start, end = (VTT_TIME.fullmatch(time) for time in timing.split(" --> "))
        assert start is not None
        assert end is not None
        text = "\n".join(lines)
        assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", text)
        plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append(Cue(ms(start), ms(end), tuple(plain.split("\n"))))
    return cues


def ms(time: re.Match[str]) -> int:
    hours, minutes, seconds, rest = map(int, time.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


@given(bad_segments())
def test_webvtt_reads_back_as_the_cues_that_were_written(segments: list[Segment]) -> None:
    cues = make_cues(segments)
    assert read_vtt(vtt(cues)) == cues


@given(bad_segments())
def test_subrip_has_each_cue_and_none_of_its_own(segments: list[Segment]) -> None:
    cues = make_cues(segments)
    blocks = srt(cues).removesuffix("\n\n").split("\n\n") if cues else []
    assert [block.split("\n")[0] for block in blocks] == [str(number) for number in range(1, len(cues) + 1)]
    assert [len(block.split("\n")) for block in blocks] == [2 + len(cue.lines) for cue in cues]
    assert all(block.count("-->") == 1 for block in blocks)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_another_reader_finds_the_same_cues_and_no_markup_in_hostile_words(kind: str, text: str) -> None:
    cues = make_cues([said(text, 1000, 4000), said("The end", 5000, 6000)])
    found = pysubs2.SSAFile.from_string((srt if kind == "srt" else vtt)(cues), format_=kind)
    assert [(event.start, event.end) for event in found] == [(cue.start_ms, cue.end_ms) for cue in cues]
    if kind == "vtt":
        assert read_vtt(vtt(cues)) == cues
    else:  # pysubs2 takes backslashes of WebVTT for commands of its own
        assert not any("\\i" in event.text or "\\b" in event.text for event in found)
        words = " ".join(event.plaintext for event in found).split()
        assert len(words) == len(cleaned(text).split()) + 2, "none was taken for a tag"


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_reads_hostile_words_as_words(kind: str, tmp_path: Path) -> None:
    cues = make_cues([said(text, 10_000 * at, 10_000 * at + 9000) for at, text in enumerate(HOSTILE)])
    file = tmp_path / f"hostile.{kind}"
    file.write_text((srt if kind == "srt" else vtt)(cues), encoding="utf-8")
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(file), "-f", "ass", "-"]
    done = subprocess.run(program, capture_output=True, check=True, timeout=60)
    events = [line for line in done.stdout.decode().splitlines() if line.startswith("Dialogue:")]
    assert len(events) == len(cues)
    text = " ".join(event.split(",", 9)[9] for event in events)
    assert "script" in text
    assert "an8" in text
    assert not re.search(r"(?<!\\)\{\\(an8|p1|b1)", text)


def test_subrip_looks_as_players_expect() -> None:
    assert srt([Cue(0, 2260, ("And so,", "my fellow")), Cue(3_723_004, 3_725_000, ("<i>no</i> {x} \\N",))]) == (
        "1\n00:00:00,000 --> 00:00:02,260\nAnd so,\nmy fellow\n\n"
        "2\n01:02:03,004 --> 01:02:05,000\n\u2039i\u203ano\u2039/i\u203a (x) \u2216N\n\n"
    )


def test_webvtt_begins_with_its_header_and_escapes_what_it_reads_as_markup() -> None:
    assert vtt([Cue(3_723_004, 3_725_000, ("<i> & --> {x} \\N",))]) == (
        "WEBVTT\n\n1\n01:02:03.004 --> 01:02:05.000\n&lt;i&gt; &amp; --&gt; {x} \\N\n\n"
    )


def test_a_transcript_without_words_is_a_valid_file() -> None:
    assert (srt([]), vtt([]), plain_text([], " ")) == ("", "WEBVTT\n\n", "")


def test_text_has_paragraphs_at_pauses_and_where_one_became_long() -> None:
    segments = [spoken("Hello there."), spoken("Still here.", start_ms=1500), spoken("Later.", start_ms=6000)]
    assert plain_text(segments, "") == "Hello there. Still here.\n\nLater.\n"
    long = plain_text([spoken("One more sentence of the same speaker. " * 40)], "").split("\n\n")
    assert len(long) > 1
    assert all(paragraph.strip().endswith(".") for paragraph in long)
    assert " ".join(long).split() == ("One more sentence of the same speaker. " * 40).split()


def test_text_without_segments_is_that_of_the_transcript() -> None:
    assert plain_text([], "All that\x07 is left") == "All that\N{REPLACEMENT CHARACTER} is left\n"


def document(segments: list[Segment]) -> TranscriptDocument:
    billing = Billing(backend="local", model="tiny.en", seconds=8.1)
    text = " ".join(segment.text for segment in segments)
    return document_of(segments, text=text, language="en", duration_ms=11_000, billing=billing)


def test_json_has_the_fields_of_verbose_json_with_times_in_seconds() -> None:
    found = json.loads(rendered(document(JFK), JFK, "json"))
    assert (found["language"], found["duration"], found["billing"]["seconds"]) == ("en", 11.0, 8.1)
    assert found["text"].startswith("And so, my fellow Americans")
    assert {**found["segments"][1], "words": None} == {
        "id": 1,
        "start": 8.02,
        "end": 10.48,
        "text": "ask what you can do for your country.",
        "words": None,
    }
    assert found["segments"][1]["words"][0] == {"word": "ask", "start": 8.02, "end": 8.66}
    assert "words" not in json.loads(rendered(document([said("x")]), [said("x")], "json"))["segments"][0]


@pytest.mark.parametrize("kind", ["srt", "vtt", "txt", "json"])
def test_every_format_has_all_words_in_utf8(kind: TranscriptFormat) -> None:
    segments = [spoken("Z\u00fcrich \u4f60\u597d na\u00efve \U0001f469\u200d\U0001f680")]
    content = rendered(document(segments), segments, kind).decode()
    at = [content.index(word) for word in segments[0].text.split()]
    assert all(before < after for before, after in pairwise(at))
