from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import millrace as m
from examples.links.stage import Found, LinksHandler, LinksReady
from millrace.testing import NOW, FakeRun, share_created, transcript_ready


def handler(*links: str, form: bool = True) -> LinksHandler:
    async def ask(_: object) -> m.Paid[Any]:
        return m.Paid(m.ChatAnswer[Found](value=Found(links=list(links)) if form else None), m.MicroUSD(7))

    chat = cast(m.ChatModel, SimpleNamespace(model="fake", ask=ask, most=lambda _: m.MicroUSD(10)))
    return LinksHandler(m.Models("fake", chat))


async def test_addresses_are_found_once_and_what_is_none_is_left_out() -> None:
    stage, run = handler("mill.example/race", "the wheel", "mill.example/race"), FakeRun()
    plan = stage.plan(transcript_ready(text="See mill dot example slash race."), {})
    assert plan is not None
    result = await stage.work(plan, run)
    event = stage.event(plan, m.Finished(plan.work_key("links"), result, run.cost, NOW))
    assert isinstance(event, LinksReady)
    assert (event.share_id, event.links, event.cost_micro_usd) == ("share-1", ["mill.example/race"], 7)


@pytest.mark.parametrize(("text", "error"), [("", m.Skipped), ("Words.", m.Poison)])
async def test_silence_is_skipped_and_an_answer_in_no_form_is_final(text: str, error: type[Exception]) -> None:
    stage = handler(form=False)
    assert stage.plan(share_created(), {}) is None
    plan = stage.plan(transcript_ready(text=text), {})
    assert plan is not None
    with pytest.raises(error):
        await stage.work(plan, FakeRun())
    assert stage.skipped(plan, "silent").skipped_reason == "silent"
