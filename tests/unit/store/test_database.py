"""What PostgreSQL says about a statement."""

from __future__ import annotations

import pytest

from millrace.store.database import rows_changed


@pytest.mark.parametrize(("tag", "count"), [("UPDATE 3", 3), ("INSERT 0 1", 1), ("INSERT 0 0", 0), ("DELETE 12", 12)])
def test_a_command_tag_says_how_many_rows_have_changed(tag: str, count: int) -> None:
    assert rows_changed(tag) == count
