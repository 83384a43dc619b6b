"""Transcripts as files that people and players read: SRT, WebVTT, plain text and JSON."""
