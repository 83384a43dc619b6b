from __future__ import annotations

from services.transcribe_agent.domain import Audio, Span, is_silent


def test_silence_is_too_low_a_level_or_nobody_speaking() -> None:
    speech = [Span(0, 500)]
    assert is_silent(Audio(bytes(16_000), -50.1), speech, silent_db=-50.0)
    assert is_silent(Audio(bytes(16_000), -20.0), [], silent_db=-50.0)
    assert not is_silent(Audio(bytes(16_000), -50.0), speech, silent_db=-50.0)


def test_a_part_of_sound_keeps_its_level_and_gain() -> None:
    audio = Audio(b"".join(n.to_bytes(2, "little") * 16 for n in range(100)), -20.0, gain_db=3.0)
    part = audio.part(Span(10, 12))
    assert part == Audio(audio.pcm[320:384], -20.0, gain_db=3.0)
    assert part.duration_ms == 2
