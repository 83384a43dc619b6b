"""Two workers of a real stage, killed, paused and restarted at random: nothing is lost, and the books are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.stage import open_stage, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", [1])
async def test_no_share_and_no_money_is_lost_whatever_happens_to_the_workers(tmp_path: Path, seed: int) -> None:
    async with open_stage(tmp_path) as stage:
        report = await run(stage, seed)
    assert report.verdict.problems == [], str(report)
