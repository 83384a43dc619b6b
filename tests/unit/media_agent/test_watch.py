from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.errors import Poison, Retryable
from services.media_agent.adapters.watch import LengthWatch, largest_in
from services.media_agent.domain import Probe

MINUTE = 60_000


class Prober:
    def __init__(self) -> None:
        self.answer: Probe | Exception = Probe("mp3", MINUTE, "mp3", None)
        self.asked = 0

    async def probe(self, path: Path) -> Probe:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "media.part"
    path.touch()
    return path


async def test_a_growing_file_is_looked_into_at_growing_sizes(file: Path) -> None:
    prober = Prober()
    watch = LengthWatch(prober, timedelta(minutes=30), lambda: file)
    looked_at = []
    for size in range(0, 70_000_000, 500_000):
        os.truncate(file, size)
        before = prober.asked
        await watch(size)
        if prober.asked > before:
            looked_at.append(size)
    assert looked_at == [1_000_000, 4_000_000, 16_000_000, 64_000_000]


async def test_what_has_not_reached_the_file_does_not_count(file: Path) -> None:
    prober = Prober()
    watch = LengthWatch(prober, timedelta(minutes=30), lambda: file)
    os.truncate(file, 900_000)
    await watch(5_000_000)
    assert prober.asked == 0


async def test_it_ends_what_is_too_long_and_nothing_else(file: Path) -> None:
    prober = Prober()
    watch = LengthWatch(prober, timedelta(minutes=30), lambda: file)
    for size, answer in ((1_000_000, Poison("not media yet")), (4_000_000, Retryable("killed"))):
        prober.answer = answer
        os.truncate(file, size)
        await watch(size)
    prober.answer = Probe("mp3", 31 * MINUTE, "mp3", None)
    os.truncate(file, 16_000_000)
    with pytest.raises(Poison, match="lasts 31 min"):
        await watch(16_000_000)


def test_the_largest_file_is_the_one_that_is_written(tmp_path: Path) -> None:
    assert largest_in(tmp_path) is None
    (tmp_path / "media.mp4").write_bytes(bytes(10))
    (tmp_path / "media.mp4-Frag3").write_bytes(bytes(5))
    assert largest_in(tmp_path) == tmp_path / "media.mp4"
