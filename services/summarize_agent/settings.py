"""Settings of the summarize agent, besides those of every agent."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from millrace.models.settings import ChatSettings, ChildSettings
from millrace.settings import StageSettings
from services.summarize_agent.domain import MOST_CHARACTERS


class SummarizeSettings(StageSettings, ChatSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    llm_backend: Literal["auto", "extractive", "api"] = Field(
        default="auto", description="auto: api when a key or MILLRACE_LLM_BASE_URL is set, otherwise extractive"
    )
    summarize_price_per_second: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars a second of the local model's work"
    )
    summarize_max_characters: int = Field(
        default=MOST_CHARACTERS, ge=1000, description="Longer texts are skipped as too-long"
    )

    @property
    def summarizes_by_api(self) -> bool:
        """Whether an API is asked, or this machine chooses sentences."""
        if self.llm_backend == "auto":
            return self.openai_api_key is not None or self.llm_base_url is not None
        return self.llm_backend == "api"
