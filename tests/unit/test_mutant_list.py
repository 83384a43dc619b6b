"""The list of mutants goes with the code: whoever changes a line that it breaks is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.mutant_list import MUTANTS, Mutant
from scripts.mutants import mutated

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_its_tests_exist(mutant: Mutant) -> None:
    assert mutated(mutant, ROOT) != (ROOT / mutant.file).read_text(encoding="utf-8")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        if name:
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")
