from __future__ import annotations

import numpy as np
import pytest

from services.transcribe_agent.loudness import as_floats, gain_db, loudest_second_db, measured_lufs

SUMMARY = b"""[Parsed_ebur128_0 @ 0x7f] Summary:

  Integrated loudness:
    I:         %s LUFS
    Threshold: -29.8 LUFS
"""


@pytest.mark.parametrize(("said", "lufs"), [(b"-19.4", -19.4), (b"-70.0", None), (b"-0.3", -0.3), (b"nan", None)])
def test_loudness_is_read_from_the_filters_summary(said: bytes, lufs: float | None) -> None:
    assert measured_lufs(SUMMARY % said) == lufs


def test_what_a_file_says_about_itself_is_not_taken_for_the_measurement() -> None:
    title = b"    title : Integrated loudness:\n    I:         -5.0 LUFS\n"
    assert measured_lufs(title + SUMMARY % b"-30.0") == -30.0


def test_no_summary_is_no_measurement() -> None:
    assert measured_lufs(b"size= 100KiB") is None
    assert gain_db(None) == 0.0


def test_the_gain_brings_sound_to_minus_sixteen() -> None:
    assert gain_db(-26.0) == 10.0
    assert gain_db(-10.0) == -6.0


def test_a_gain_of_six_decibels_doubles_every_sample_and_clips_none() -> None:
    pcm = np.array([0, 8192, -32768], dtype="<i2").tobytes()
    assert as_floats(pcm, 0.0).tolist() == [0.0, 0.25, -1.0]
    assert as_floats(pcm, 6.0206) == pytest.approx([0.0, 0.5, -2.0], abs=1e-4)


def test_the_level_is_that_of_the_loudest_second() -> None:
    second = np.full(16_000, 16_384, dtype="<i2")
    quiet = np.zeros(160_000, dtype="<i2")
    assert loudest_second_db(np.concatenate([quiet, second, quiet])) == pytest.approx(-6.02, abs=0.01)
    assert loudest_second_db(quiet) == -120.0
    assert loudest_second_db(quiet[:0]) == -120.0
