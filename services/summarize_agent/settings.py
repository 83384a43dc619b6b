"""Settings of the summarize agent, besides those of every agent."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from millrace.models.settings import ApiSettings, ChildSettings
from millrace.settings import StageSettings
from services.summarize_agent.domain import MOST_CHARACTERS


class SummarizeSettings(StageSettings, ApiSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    llm_backend: Literal["auto", "extractive", "api"] = Field(
        default="auto", description="auto: api when a key or MILLRACE_LLM_BASE_URL is set, otherwise extractive"
    )
    llm_base_url: str | None = Field(
        default=None, description="Base URL of an OpenAI-compatible API; OpenAI's own by default"
    )
    llm_model: str = Field(default="gpt-4o-mini", description="Model of the API")
    llm_max_tokens: int = Field(default=1500, ge=100, description="Most tokens that the API may write")
    llm_timeout_s: float = Field(default=120.0, gt=0, description="Longest that the API may take for an answer")
    llm_price_in: Decimal | None = Field(
        default=None,
        ge=0,
        description="US dollars a million tokens read by the API; filed or published prices by default",
    )
    llm_price_out: Decimal | None = Field(
        default=None,
        ge=0,
        description="US dollars a million tokens written by the API; goes with MILLRACE_LLM_PRICE_IN",
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
