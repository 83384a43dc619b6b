"""What gates are called in the database. Pure."""

from __future__ import annotations

from typing import Final

BUDGET: Final = "budget:"
MODEL: Final = "model:"


def budget_gate(account: str) -> str:
    """Gate of what an account may spend on a stage."""
    return f"{BUDGET}{account}"


def model_gate(model: str) -> str:
    """Gate of a model, that is, of whoever provides it."""
    return f"{MODEL}{model}"
