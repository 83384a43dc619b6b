"""Real media that ships with the library, for tests and the demonstration; README.md says what each file is."""

from pathlib import Path

JFK_WAV = Path(__file__).parent / "jfk.wav"
"""11.0 s of English speech, 16 kHz mono; in the public domain."""
ARTICLE = Path(__file__).parent / "what-a-millrace-is.txt"
"""Four paragraphs of English prose, written for this project."""
