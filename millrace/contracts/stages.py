"""The stages that `schemas/topics.yaml` names, and the topics that each of them has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from millrace.contracts.events import StageName

LOCAL_SUFFIX = ".requested.local"
SEARCH_SCOPE, TOTAL_SCOPE = "search", "total"
"""Scopes of budgets beside the stages: queries of people, and an account's scopes together."""

STAGE_NAME = TypeAdapter[str](StageName)


class StageEntry(BaseModel):
    """A stage as the catalogue knows it.

    `module` is its agent's program, `reads` are the topics of the events that it works on and `writes` is that of its
    results, `local` whether it has a model of this machine's own, `spends` whether it asks the ledger for money.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    reads: tuple[str, ...] = Field(min_length=1)
    writes: str
    local: bool = False
    spends: bool = True


def stage_topics(
    stage: StageName, entry: StageEntry, templates: Mapping[str, dict[str, object]]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Name and entry of each topic that a stage has.

    :param templates: entries by name, with `{stage}` where the stage's name goes.
    """
    for template, topic in templates.items():
        if entry.local or not template.endswith(LOCAL_SUFFIX):
            yield template.replace("{stage}", stage), topic


def dead_topic(stage: StageName) -> str:
    """Topic of messages that a stage gave up on."""
    return f"{stage}.dead"


def stage_of_dead_topic(topic: str) -> StageName:
    """The stage that writes a topic of dead letters."""
    return topic.removesuffix(".dead")
