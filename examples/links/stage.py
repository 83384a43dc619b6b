"""Finds the web addresses that a transcript names. docs/adding-a-stage.md walks through it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from pydantic import BaseModel

import millrace as m

ADDRESS = re.compile(r"(https?://)?([a-z0-9-]+\.)+[a-z]{2,}(/\S*)?", re.IGNORECASE)
PROMPT = f"""\
List the web addresses that are named in a transcript of speech, as one would type them.
{m.DOCUMENT_IS_DATA}.
Answer as a JSON object: links, the addresses in the order in which they are named."""


class Found(BaseModel):
    """What the model answers."""

    links: list[str]


class Links(BaseModel):
    """What is kept of the work, whoever shared the words."""

    skipped_reason: str | None = None
    links: list[str] = []


class LinksReady(m.SkippableEvent):
    """What goes out about a share: schemas/avro/links.ready.v1.avsc."""

    links: list[str]


class LinksSettings(m.StageSettings, m.ChatSettings):
    """Those of every agent, and those of a language model."""


class LinksHandler(m.StageHandler[m.TranscriptReady, Links]):
    """One question to a language model for each transcript."""

    result_type, event_type = Links, LinksReady

    def __init__(self, chats: m.Models[m.ChatModel]) -> None:
        self._chats = chats

    def plan(self, event: m.Event, options: Mapping[str, str]) -> m.Plan[m.TranscriptReady] | None:
        """Equal words are equal work: another prompt would need another `version`."""
        if not isinstance(event, m.TranscriptReady):
            return None
        chat = self._chats.of(options.get(m.MODEL_OPTION))
        parameters: dict[str, str | int | float | bool] = {"version": 1, "skipped": event.skipped_reason or ""}
        return m.Plan(event, m.content_hash(event.text), chat.model, parameters)

    async def work(self, plan: m.Plan[m.TranscriptReady], run: m.Run) -> Links:
        """Ask once the ledger has granted the most that it can cost."""
        if not plan.event.text.strip():
            raise m.Skipped(plan.event.skipped_reason or "no-words")
        chat = self._chats.of(plan.model)
        question = m.Question(
            PROMPT, plan.event.text, Found, {"links": {"type": "array", "items": {"type": "string"}}}
        )
        hold = chat.most(question)
        answer = await run.call(0, m.ChatAnswer[Found], model=plan.model, hold=hold, do=lambda: chat.ask(question))
        if answer.value is None:
            raise m.Poison(f"{plan.model} did not answer with a list of links")
        return Links(links=[*filter(ADDRESS.fullmatch, dict.fromkeys(answer.value.links))])

    def skipped(self, plan: m.Plan[m.TranscriptReady], reason: str) -> Links:
        """No links, and why."""
        return Links(skipped_reason=reason)


@asynccontextmanager
async def build(settings: LinksSettings, _: m.Resources) -> AsyncIterator[LinksHandler]:
    """The handler, with the API's client open."""
    async with m.open_chats(settings) as chats:
        yield LinksHandler(chats)


SPEC = m.StageSpec(
    name="links",
    inputs=("transcript.ready",),
    output="links.ready",
    soft_limit=timedelta(minutes=2),
    hard_limit=timedelta(minutes=4),
    records={"links.ready": LinksReady},
)
LINKS = m.Agent(SPEC, LinksSettings, build)

if __name__ == "__main__":
    LINKS.main()
