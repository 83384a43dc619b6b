"""Settings of the summarize agent, besides those of every agent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from pydantic import Field

from millrace.models.settings import ChatSettings, ChildSettings
from millrace.settings import StageSettings
from services.summarize_agent.complexity import Complexity
from services.summarize_agent.domain import MOST_CHARACTERS
from services.summarize_agent.parts import Limits

_MOST_PARTS: Final = 40  # 50 calls with those that join them, for which the stage's hard limit leaves 12 s each


class SummarizeSettings(StageSettings, ChatSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    llm_backend: Literal["auto", "extractive", "api"] = Field(
        default="auto",
        description="auto: api when the provider's key or MILLRACE_LLM_BASE_URL is set, otherwise extractive; "
        "api, too, when MILLRACE_LLM_PROVIDER is anthropic",
    )
    summarize_price_per_second: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars a second of the local model's work"
    )
    summarize_max_characters: int = Field(
        default=MOST_CHARACTERS, ge=1000, description="Longer texts are skipped as too-long"
    )
    summarize_part_tokens: int = Field(
        default=24_000,
        ge=500,
        description="Most tokens of a text that the API is given at once; longer texts are cut into parts, each with "
        "a call of its own. Of models whose tokenizer is not known (all but OpenAI's) these are bytes",
    )
    summarize_max_parts: int = Field(
        default=12, ge=1, le=_MOST_PARTS, description="Most parts of a text; what comes after them is left out"
    )
    llm_model_simple: str | None = Field(
        default=None,
        min_length=1,
        description="Model for simple texts, of the same API; MILLRACE_LLM_MODEL by default",
    )
    llm_model_complex: str | None = Field(
        default=None,
        min_length=1,
        description="Model for complex texts; docs/summaries.md says which texts these are",
    )

    @property
    def limits(self) -> Limits:
        """How texts are cut."""
        return Limits(self.summarize_part_tokens, self.summarize_max_parts)

    @property
    def choice(self) -> Mapping[Complexity, str]:
        """Models for texts of some kinds, where they are not the usual one."""
        named: dict[Complexity, str | None] = {"simple": self.llm_model_simple, "complex": self.llm_model_complex}
        return {kind: name for kind, name in named.items() if name is not None and self.summarizes_by_api}

    @property
    def summarizes_by_api(self) -> bool:
        """Whether an API is asked, or this machine chooses sentences."""
        if self.llm_backend == "auto":
            # Who names a provider besides the default one wants it asked: without its key it is refused at the start.
            return self.has_llm or self.llm_provider == "anthropic"
        return self.llm_backend == "api"
