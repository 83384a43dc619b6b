from __future__ import annotations

from pathlib import Path

import pytest

from millrace.contracts.events import Segment, Word
from millrace.errors import Poison
from millrace.store.blobs import LocalBlobStore
from millrace.store.transcripts import INLINE_LIMIT, keep_large, read_segments, read_stretches

SEGMENTS = [
    Segment(
        start_ms=n * 1_000,
        end_ms=n * 1_000 + 900,
        text="words " * 30,
        words=[Word(start_ms=n * 1_000, end_ms=n * 1_000 + 900, text="words")],
    )
    for n in range(INLINE_LIMIT // 200)
]


async def test_stretches_of_a_large_transcript_are_read_alone(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path)
    key = await keep_large(blobs, SEGMENTS)
    assert key is not None
    assert await read_segments(blobs, key) == SEGMENTS
    found = await read_stretches(blobs, key, [(5_950, 7_000), (10**9, 10**9 + 1), (0, 0)])
    assert found == [SEGMENTS[6:8], [], SEGMENTS[:1]]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"[] []", b"[1,]", b'[{"text": "x"}]', b"[", b"\xff", b'[{"start_ms": 0, "end_ms": 9}]'],
)
async def test_what_is_no_transcript_is_poison(tmp_path: Path, content: bytes) -> None:
    blobs = LocalBlobStore(tmp_path)
    await blobs.put_bytes("transcripts/x.json", content)
    with pytest.raises(Poison, match="does not hold the segments"):
        await read_segments(blobs, "transcripts/x.json")
    with pytest.raises(Poison, match="does not hold the segments"):
        await read_stretches(blobs, "transcripts/x.json", [(0, 5)])


async def test_space_between_segments_means_nothing(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path)
    one = SEGMENTS[0].model_dump_json().encode()
    for content, found in ((b"[]", []), (b" [ ]\n", []), (b"[ " + one + b" ,\n" + one + b" ] ", [SEGMENTS[0]] * 2)):
        await blobs.put_bytes("transcripts/x.json", content)
        assert await read_segments(blobs, "transcripts/x.json") == found
