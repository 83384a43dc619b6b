"""Settings of models that several services share: the embed agent and the gateway must use the same one."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr

from millrace.errors import ConfigurationError
from millrace.models.child.pool import Care
from millrace.models.lookup import audio_tariff
from millrace.models.port import Tariff
from millrace.models.tariffs import PerSecond
from millrace.settings import WorksOn

log = logging.getLogger(__name__)
OPENAI_MODEL: Final = "gpt-4o-mini"


def older(name: str, known_as: str) -> AliasChoices:
    """A setting's own variable, and the one that operators of older systems know."""
    return AliasChoices(f"MILLRACE_{name.upper()}", known_as, name)


class ApiSettings(BaseModel):
    """The key of OpenAI-compatible APIs, and where their prices are. Mixed into a service's settings."""

    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MILLRACE_OPENAI_API_KEY", "OPENAI_API_KEY", "openai_api_key"),
        description="Key of the OpenAI-compatible APIs; none are asked without it, unless a base URL is set",
    )
    prices: Path | None = Field(
        default=None, description="File of prices that go before the packaged and the published ones"
    )


class ChatSettings(ApiSettings):
    """A language model behind an API. Mixed into a service's settings."""

    llm_provider: Literal["openai", "anthropic"] = Field(
        default="openai", description="Whose protocol the API speaks: OpenAI's, as many servers do, or Anthropic's"
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MILLRACE_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY", "anthropic_api_key"),
        description="Key of Anthropic's API, with MILLRACE_LLM_PROVIDER=anthropic",
    )
    llm_base_url: str | None = Field(
        default=None, description="Base URL of the API; that of OpenAI itself, or of Anthropic, by default"
    )
    llm_model: str = Field(default=OPENAI_MODEL, description="Model of the API; of Anthropic there is no default")
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

    @property
    def llm_key(self) -> SecretStr | None:
        """The provider's key."""
        return self.anthropic_api_key if self.llm_provider == "anthropic" else self.openai_api_key

    @property
    def has_llm(self) -> bool:
        """Whether there is an API that could be asked."""
        return self.llm_key is not None or self.llm_base_url is not None

    def check_llm(self) -> None:
        """:raises ConfigurationError: no model of the provider is named, or there is no API that could be asked."""
        if self.llm_provider == "anthropic" and self.llm_model == OPENAI_MODEL:
            raise ConfigurationError(
                "MILLRACE_LLM_PROVIDER is anthropic: name one of its models in MILLRACE_LLM_MODEL"
            )
        if not self.has_llm:
            key = "ANTHROPIC_API_KEY" if self.llm_provider == "anthropic" else "OPENAI_API_KEY"
            raise ConfigurationError(
                f"the settings choose an API of language models: set {key} or MILLRACE_LLM_BASE_URL"
            )


class ChildSettings(BaseModel):
    """The child processes that a local model runs in. Mixed into a service's settings."""

    works_on: WorksOn = Field(
        default="both",
        description="Which work this worker does. api: it hands over what needs a local model to workers with local, "
        "which do nothing else and have a consumer group of their own; run both kinds then",
    )
    children: int = Field(
        default=1, ge=1, description="Child processes that a local model runs in, each with a model of its own"
    )
    child_jobs: int = Field(default=50, ge=1, description="Calls of the model after which a child is replaced")
    child_memory_mb: int | None = Field(
        default=None,
        ge=64,
        description="Most memory of a child, in MiB; a call that needs more fails. No limit by default",
    )

    @property
    def has_local_work(self) -> bool:
        """Whether this worker may have to run a local model."""
        return self.works_on != "api"

    @property
    def care(self) -> Care:
        """How the children are kept."""
        return Care(self.children, self.child_jobs, self.child_memory_mb, warm=self.has_local_work)

    def uses_local(self, *, by_api: bool) -> bool:
        """Whether a local model does this worker's usual work; otherwise only what commands ask for.

        :param by_api: whether the settings choose an API for the stage.
        """
        return self.works_on == "local" or (self.works_on == "both" and not by_api)

    def care_of_model(self, *, by_api: bool) -> Care:
        """How the children of the local model itself are kept: none is started for what may never be asked."""
        return replace(self.care, warm=self.uses_local(by_api=by_api))

    def say_local(self, *, by_api: bool) -> None:
        """Warn that this worker is there for local models, and the stage's own one is an API's."""
        if self.works_on == "local" and by_api:
            log.warning(
                "MILLRACE_WORKS_ON is local, but the settings choose an API: this worker does only what commands ask "
                "of a local model; if more is wanted, set the stage's backend to the local one"
            )


class EmbeddingSettings(ApiSettings):
    """Which embedding model is used, and what it costs. Mixed into a service's settings."""

    embed_backend: Literal["auto", "local", "fastembed", "api"] = Field(
        default="auto",
        description="auto: the API when a key or MILLRACE_EMBED_BASE_URL is set, otherwise local, the bundled model. "
        "fastembed: an ONNX model on this machine",
    )
    embed_fastembed_model: str = Field(
        default="BAAI/bge-small-en-v1.5",
        min_length=1,
        description="Name of a model of fastembed's catalogue, or a folder with one (with a / in front)",
    )
    embed_download: bool = Field(
        default=False, description="Whether a model of fastembed that is not here may be downloaded"
    )
    embed_base_url: str | None = Field(default=None, description="Base URL of the API; OpenAI's own by default")
    embed_model: str = Field(default="text-embedding-3-small", description="Model of the API")
    embed_model_large: str | None = Field(
        default=None,
        min_length=1,
        description="Model of texts above 5,000 tokens; search then asks both. MILLRACE_EMBED_MODEL by default",
    )
    embed_timeout_s: float = Field(default=60.0, gt=0, description="Longest that the API may take for an answer")
    embed_price_per_second: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars a second of the local model's work"
    )
    embed_price_in: Decimal | None = Field(
        default=None,
        ge=0,
        description="US dollars a million tokens of the API; filed or published prices by default",
    )

    @property
    def has_embedding_api(self) -> bool:
        """Whether there is an API that could be asked."""
        return self.openai_api_key is not None or self.embed_base_url is not None

    @property
    def embeds_by_api(self) -> bool:
        """Whether the API is asked, or the model of this machine."""
        if self.embed_backend == "auto":
            return self.has_embedding_api
        return self.embed_backend == "api"


class SpeechSettings(ApiSettings):
    """Who turns speech into text, and what it costs. Mixed into the settings of who listens and of who estimates."""

    stt_backend: Literal["auto", "local", "api"] = Field(
        default="auto",
        validation_alias=older("stt_backend", "PREFERRED_STT"),
        description="Who listens. auto: the API when a key or MILLRACE_STT_BASE_URL is set, or else the local model",
    )
    stt_base_url: str | None = Field(
        default=None, description="Base URL of an OpenAI-compatible transcription API; OpenAI's own by default"
    )
    stt_model: str = Field(default="whisper-1", min_length=1, description="Model of the API")
    stt_timeout_s: float = Field(default=300.0, gt=0, description="Longest that the API may take for ten minutes")
    stt_price_minute: Decimal | None = Field(
        default=None, ge=0, description="US dollars a minute of sound of the API; filed prices by default"
    )
    transcribe_price_per_second: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars a second of the local model's work"
    )

    @property
    def has_api(self) -> bool:
        """Whether there is an API that could be asked."""
        return self.openai_api_key is not None or self.stt_base_url is not None

    @property
    def listens_by_api(self) -> bool:
        """Whether the API listens, or the model of this machine."""
        return self.has_api if self.stt_backend == "auto" else self.stt_backend == "api"

    def speech_tariff(self, model: str | None = None) -> Tariff:
        """What listening costs by these settings; by another model of the API, if one is named.

        :raises ConfigurationError: nobody knows what the API's model costs.
        """
        if model is None and not self.listens_by_api:
            return PerSecond(self.transcribe_price_per_second)
        name = model or self.stt_model
        return audio_tariff(
            model=name,
            base_url=self.stt_base_url,
            dollars_minute=self.stt_price_minute if name == self.stt_model else None,
            file=self.prices,
            setting="MILLRACE_STT_PRICE_MINUTE",
        )
