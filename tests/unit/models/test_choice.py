"""Which model a command gets: by its name, by where it runs, by both or by neither."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from millrace.errors import ConfigurationError, Poison
from millrace.models.choice import Models, asked_for


@dataclass(frozen=True)
class Named:
    """A model."""

    name: str
    backend: str


def make(name: str) -> Named:
    if name.startswith("cloud"):
        return Named(name, "api")
    raise ConfigurationError(f"nobody knows {name}")


def here() -> Named:
    return Named("own", "extractive")


BY_API = Models(*("cloud-1", make("cloud-1"), make), beside=("own", here))
BY_BOTH = Models(*("own", here(), make), beside=("cloud-1", lambda: make("cloud-1")))
LOCAL = Models("own", here())


@pytest.mark.parametrize(
    ("models", "model", "backend", "usual", "found"),
    [
        (BY_API, None, None, None, "cloud-1"),
        (BY_API, None, None, "cloud-large", "cloud-large"),
        (BY_API, "cloud-2", None, "cloud-large", "cloud-2"),
        (BY_API, "own", None, None, "own"),
        (BY_API, None, "api", None, "cloud-1"),
        (BY_API, None, "api", "cloud-large", "cloud-large"),
        (BY_API, "cloud-2", "api", "cloud-large", "cloud-2"),
        (BY_API, None, "local", None, "own"),
        (BY_API, None, "local", "cloud-large", "own"),
        (BY_API, "own", "local", None, "own"),
        (BY_BOTH, None, "local", None, "own"),
        (BY_BOTH, None, "api", None, "cloud-1"),
        (LOCAL, None, "local", None, "own"),
    ],
)
def test_a_command_gets_the_model_that_it_asks_for(
    models: Models[Named], model: str | None, backend: str | None, usual: str | None, found: str
) -> None:
    assert asked_for(models, model, backend, usual).name == found


@pytest.mark.parametrize(
    ("models", "model", "backend", "why"),
    [
        (LOCAL, None, "api", "this stage has no model with the backend api: its settings name own"),
        (LOCAL, "cloud-1", None, "only the model own is here, not cloud-1"),
        (BY_API, "nobody", None, "nobody knows nobody"),
        (BY_API, "cloud-2", "local", "the model cloud-2 does not run where the command wants it"),
        (BY_API, "own", "api", "the model own does not run where the command wants it"),
        (BY_API, None, "gpu", "a backend is local or api, not gpu"),
    ],
)
def test_no_other_model_stands_in_for_it(models: Models[Named], model: str | None, backend: str, why: str) -> None:
    with pytest.raises(Poison, match=why):
        asked_for(models, model, backend)


def test_a_model_beside_the_own_one_is_made_once_and_not_before_somebody_asks() -> None:
    made = []

    def beside() -> Named:
        made.append(here())
        return made[-1]

    models = Models("cloud-1", make("cloud-1"), make, beside=("own", beside))
    assert asked_for(models, None, "api").name == "cloud-1"
    assert made == []
    assert asked_for(models, None, "local") is asked_for(models, "own", None) is made[0]
    assert len(made) == 1


def test_one_that_cannot_be_opened_here_says_why_and_settings_that_name_it_are_refused_at_the_start() -> None:
    def missing() -> Named:
        raise ConfigurationError("it is not installed: install millrace[models]")

    models = Models("cloud-1", make("cloud-1"), make, beside=("own", missing))
    with pytest.raises(Poison, match="install millrace"):
        asked_for(models, None, "local")
    with pytest.raises(ConfigurationError, match="install millrace"):
        models.need("own")


def test_models_inside_something_keep_their_names() -> None:
    wrapped = BY_API.map(lambda model: Named(model.name, model.backend), beside=("other", here))
    assert [asked_for(wrapped, None, backend).name for backend in ("api", "local")] == ["cloud-1", "own"]
    assert wrapped.of("cloud-2").name == "cloud-2"
