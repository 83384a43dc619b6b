"""Workers, memberships and the broker of a real ledger are hurt; an oracle of its own and the audit find nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.ledger import run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", [1])
async def test_no_cap_is_exceeded_and_no_answer_changes_whatever_happens(tmp_path: Path, seed: int) -> None:
    report = await run(tmp_path, seed, minutes=0.5)
    assert report.ok, report
