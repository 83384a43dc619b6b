"""What kind of text something is."""

from __future__ import annotations

from millrace.text import has_nul, looks_binary


def test_a_nul_is_never_meant_to_be_read() -> None:
    assert (has_nul("a\0b"), looks_binary("a\0b")) == (True, True)
    assert (has_nul("a\tb"), looks_binary("a\tb")) == (False, False)
