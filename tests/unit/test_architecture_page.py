"""docs/architecture.md is the walk through this tree, and no other."""

from __future__ import annotations

import re

import pytest

from scripts.arrows import PAGE, ROOT, page

TEXT = PAGE.read_text()
NAMED = sorted(set(re.findall(r"`([\w./]+\.(?:py|pyi|yaml|toml|md))`", TEXT)))
LINKED = sorted(set(re.findall(r"\]\(([\w./-]+\.md)\)", TEXT)))


def test_the_walk_names_its_files_by_their_whole_path() -> None:
    assert len(NAMED) > 40
    assert [name for name in NAMED if "/" not in name] == []


@pytest.mark.parametrize("name", NAMED)
def test_a_file_of_the_walk_exists(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", LINKED)
def test_a_page_that_the_walk_links_to_exists(name: str) -> None:
    assert (PAGE.parent / name).is_file()


def test_the_arrows_are_those_that_lint_enforces() -> None:
    assert page(TEXT) == TEXT, "run: python scripts/arrows.py"
