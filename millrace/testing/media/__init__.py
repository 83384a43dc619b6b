"""Real media that ships with the library, for tests and the demonstration; README.md says what each file is."""

from pathlib import Path

JFK_WAV = Path(__file__).parent / "jfk.wav"
"""11.0 s of English speech, 16 kHz mono; in the public domain."""
