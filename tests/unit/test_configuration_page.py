"""docs/configuration.md says what the settings classes say."""

from __future__ import annotations

from scripts.configuration import TARGET, page


def test_the_page_is_up_to_date() -> None:
    assert TARGET.read_text() == page(), "run: python scripts/configuration.py"
