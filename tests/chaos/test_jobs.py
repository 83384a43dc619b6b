"""Workers of a real stage, its broker and its database are hurt: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.jobs import BASIC_MINUTES, run
from tests.chaos.jobs_parts import open_stage

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", [1])
async def test_no_share_and_no_money_is_lost_whatever_happens_to_the_workers(tmp_path: Path, seed: int) -> None:
    async with open_stage(tmp_path) as stage:
        report = await run(stage, seed, BASIC_MINUTES)
    assert report.ok, report
