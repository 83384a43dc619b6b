from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel, ValidationError

from millrace.errors import ConfigurationError
from millrace.models.build import open_embedding
from millrace.models.settings import EmbeddingSettings
from millrace.stream.connect import Resources
from services.embed_agent.settings import EmbedSettings
from services.media_agent.settings import MediaSettings
from services.summarize_agent.build import build_handler
from services.summarize_agent.settings import SummarizeSettings
from services.transcribe_agent.settings import TranscribeSettings

CORE = {"MILLRACE_KAFKA": "k", "MILLRACE_REGISTRY": "r", "MILLRACE_POSTGRES": "p", "MILLRACE_BLOBS": "/b"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OPENAI_API_KEY", "MILLRACE_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MILLRACE_ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in CORE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_without_a_key_everything_is_local(environment: pytest.MonkeyPatch) -> None:
    assert not EmbedSettings().embeds_by_api
    assert not SummarizeSettings().summarizes_by_api


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MILLRACE_OPENAI_API_KEY"])
def test_a_key_under_either_name_chooses_the_api_and_is_never_printed(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    environment.setenv(name, "sk-secret")
    for settings in (EmbedSettings(), SummarizeSettings()):
        assert settings.openai_api_key is not None
        assert settings.openai_api_key.get_secret_value() == "sk-secret"
        assert "sk-secret" not in repr(settings) + settings.model_dump_json()
    assert EmbedSettings().embeds_by_api
    assert SummarizeSettings().summarizes_by_api


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "MILLRACE_ANTHROPIC_API_KEY"])
def test_anthropics_key_chooses_the_api_with_its_provider_only(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "sk-secret")
    assert not SummarizeSettings().summarizes_by_api
    environment.setenv("MILLRACE_LLM_PROVIDER", "anthropic")
    settings = SummarizeSettings()
    assert settings.summarizes_by_api
    assert settings.llm_key is not None
    assert settings.llm_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings) + settings.model_dump_json()


def test_models_for_some_texts_are_chosen_by_api_only(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILLRACE_LLM_MODEL_COMPLEX", "gpt-4o")
    assert SummarizeSettings().choice == {}
    environment.setenv("OPENAI_API_KEY", "sk-secret")
    assert SummarizeSettings().choice == {"complex": "gpt-4o"}


async def test_a_model_for_some_texts_without_a_price_is_refused_at_the_start(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-secret")
    environment.setenv("MILLRACE_LLM_MODEL_SIMPLE", "model-of-tomorrow")
    with pytest.raises(ConfigurationError, match="model-of-tomorrow"):
        async with build_handler(SummarizeSettings(), cast(Resources, None)):
            pass


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"MILLRACE_LLM_BACKEND": "api"}, "OPENAI_API_KEY"),
        ({"MILLRACE_LLM_PROVIDER": "anthropic", "MILLRACE_LLM_MODEL": "claude-haiku-4-5"}, "ANTHROPIC_API_KEY"),
    ],
)
async def test_an_api_without_its_key_is_refused_at_the_start(
    environment: pytest.MonkeyPatch, variables: dict[str, str], key: str
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"set {key} or MILLRACE_LLM_BASE_URL"):
        async with build_handler(SummarizeSettings(), cast(Resources, None)):
            pass


def test_no_more_parts_are_allowed_than_the_stage_has_time_for(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILLRACE_SUMMARIZE_MAX_PARTS", "40")
    assert SummarizeSettings().limits.most_parts == 40
    environment.setenv("MILLRACE_SUMMARIZE_MAX_PARTS", "41")
    with pytest.raises(ValidationError):
        SummarizeSettings()


def test_a_base_url_chooses_the_api_without_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILLRACE_LLM_BASE_URL", "http://127.0.0.1:11434/v1")
    assert SummarizeSettings().summarizes_by_api
    assert not EmbedSettings().embeds_by_api, "each API is chosen on its own"


def test_a_forced_backend_comes_before_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-secret")
    environment.setenv("MILLRACE_LLM_BACKEND", "extractive")
    environment.setenv("MILLRACE_EMBED_BACKEND", "local")
    assert not SummarizeSettings().summarizes_by_api
    assert not EmbedSettings().embeds_by_api


def test_the_embedding_settings_can_be_mixed_into_any_service() -> None:
    assert issubclass(EmbeddingSettings, BaseModel)
    assert not EmbeddingSettings().embeds_by_api


async def test_the_file_of_prices_that_the_environment_names_prices_the_model(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[price]]\nmodel = "nomic-embed-text"\ntokens_in = "0.000002"\n')
    environment.setenv("MILLRACE_EMBED_BASE_URL", "http://127.0.0.1:11434/v1")
    environment.setenv("MILLRACE_EMBED_MODEL", "nomic-embed-text")
    with pytest.raises(ConfigurationError, match="MILLRACE_PRICES"):
        async with open_embedding(EmbedSettings(), care=None):
            pass
    environment.setenv("MILLRACE_PRICES", str(file))
    async with open_embedding(EmbedSettings(), care=None) as model:
        assert model.tariff.most(1_000_000) == 2
    assert SummarizeSettings().prices == file


def test_a_worker_for_local_models_whose_stage_asks_an_api_says_that_it_has_little_to_do(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("MILLRACE_WORKS_ON", "local")
    EmbedSettings().say_local(by_api=EmbedSettings().embeds_by_api)
    assert caplog.messages == []
    environment.setenv("OPENAI_API_KEY", "sk-secret")
    EmbedSettings().say_local(by_api=EmbedSettings().embeds_by_api)
    (said,) = caplog.messages
    assert "MILLRACE_WORKS_ON is local, but the settings choose an API" in said


@pytest.mark.parametrize(
    ("works_on", "by_api", "warm"),
    [("both", False, True), ("both", True, False), ("api", False, False), ("local", True, True)],
)
def test_no_local_model_is_loaded_for_what_may_never_be_asked(
    environment: pytest.MonkeyPatch, works_on: str, by_api: bool, warm: bool
) -> None:
    environment.setenv("MILLRACE_WORKS_ON", works_on)
    assert EmbedSettings().care_of_model(by_api=by_api).warm == warm


@pytest.mark.parametrize(("works_on", "children", "places"), [("both", 1, 1), ("local", 3, 3), ("api", 1, 4)])
def test_as_many_recordings_are_worked_on_as_there_are_children_to_listen(
    environment: pytest.MonkeyPatch, works_on: str, children: int, places: int
) -> None:
    environment.setenv("MILLRACE_WORKS_ON", works_on)
    environment.setenv("MILLRACE_CHILDREN", str(children))
    settings = TranscribeSettings()
    assert settings.places == places
    assert settings.care.warm == (works_on != "api")


@pytest.mark.parametrize(
    ("variables", "micro_usd"),
    [
        ({}, 0),
        ({"MILLRACE_TRANSCRIBE_PRICE_PER_SECOND": "0.0001"}, 6100),
        ({"OPENAI_API_KEY": "sk-1"}, 6000),
        ({"OPENAI_API_KEY": "sk-1", "PREFERRED_STT": "local"}, 0),
        ({"MILLRACE_STT_BASE_URL": "http://ears.example/v1", "MILLRACE_STT_PRICE_MINUTE": "0.001"}, 1000),
    ],
)
def test_a_minute_of_speech_costs_what_who_listens_takes_for_it(
    environment: pytest.MonkeyPatch, variables: dict[str, str], micro_usd: int
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    for settings in (MediaSettings(), TranscribeSettings()):
        assert settings.speech_tariff().most(audio_ms=60_000) == micro_usd


def test_an_api_whose_price_nobody_knows_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILLRACE_STT_BASE_URL", "http://ears.example/v1")
    with pytest.raises(ConfigurationError, match="MILLRACE_STT_PRICE_MINUTE"):
        MediaSettings().speech_tariff()
