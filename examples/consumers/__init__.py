"""Readers of the stream in several languages, which all do the same: see docs/consuming.md."""
