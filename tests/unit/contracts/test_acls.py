"""Who may do what in Kafka, as it follows from the catalogue."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from millrace.contracts.acls import GATEWAY, LEDGER, OPERATOR, SUBSCRIBER, VIEWER, Grant, grants, users
from millrace.contracts.catalog import Catalog
from millrace.stream.agent import Agent

CATALOG = Catalog.load(more=())
GRANTS = grants(CATALOG)
LINKS = Path("examples/links/schemas").absolute()


def may(user: str, operation: str) -> set[str]:
    """Topics that a user may do this with."""
    return {g.name for g in GRANTS if (g.user, g.operation, g.resource) == (user, operation, "topic")}


@pytest.mark.parametrize("stage", CATALOG.stages)
def test_the_catalogue_says_of_a_stage_what_its_agent_does(stage: str) -> None:
    entry = CATALOG.stages[stage]
    agent = importlib.import_module(f"{entry.module}.app").AGENT
    assert isinstance(agent, Agent)
    assert (set(entry.reads), entry.writes) == (set(agent.spec.inputs), agent.spec.output)


@pytest.mark.parametrize("stage", CATALOG.stages)
def test_an_agent_writes_its_own_results_and_commands_and_asks_for_money(stage: str) -> None:
    entry = CATALOG.stages[stage]
    own = {f"{stage}.requested"} | ({f"{stage}.requested.local"} if entry.local else set())
    assert may(f"{stage}-agent", "write") == {entry.writes, f"{stage}.dead", "task.status", "cost.requests", *own}
    assert may(f"{stage}-agent", "read") == {*entry.reads, "cost.decisions", *own}
    groups = {g.name for g in GRANTS if (g.user, g.resource) == (f"{stage}-agent", "group")}
    assert groups == {f"millrace-{stage}-agent", f"millrace-{stage}-local"}


def test_nobody_but_the_ledger_writes_decisions_and_books() -> None:
    for topic in ("cost.decisions", "cost.rows", "cost.spend", "cost.alerts"):
        assert {g.user for g in GRANTS if (g.name, g.operation) == (topic, "write")} == {LEDGER}
    writers = {g.user for g in GRANTS if "changelog" in g.name and g.operation == "write"}
    assert writers == {LEDGER}
    assert {g.user for g in GRANTS if g.resource == "transactional-id"} == {LEDGER}


def test_the_gateway_tells_what_is_deleted_everywhere_and_reads_what_was_given_up() -> None:
    told = {"share.created", "task.status", "cost.requests", *(entry.writes for entry in CATALOG.stages.values())}
    assert may(GATEWAY, "write") == told | {name for name in CATALOG.topics if ".requested" in name}
    assert may(GATEWAY, "read") == {*CATALOG.dead_topics, "cost.decisions"}


def test_other_teams_and_viewers_change_nothing_and_see_no_commands() -> None:
    for user in (SUBSCRIBER, VIEWER):
        assert may(user, "write") == set()
    assert not {name for name in may(SUBSCRIBER, "read") if "requested" in name or "dead" in name}


def test_whoever_reads_or_writes_a_topic_may_see_its_settings_which_services_check() -> None:
    for user in users(CATALOG):
        assert may(user, "describe-configs") == may(user, "read") | may(user, "write") | may(user, "describe")


def test_nobody_has_rights_that_is_no_user_and_the_operator_needs_none() -> None:
    assert {grant.user for grant in GRANTS} == set(users(CATALOG)) - {OPERATOR}
    named = {g.name for g in GRANTS if g.resource == "topic"}
    assert named - {"*"} <= CATALOG.topics.keys()
    assert len(set(GRANTS)) == len(GRANTS)
    assert tuple(sorted(GRANTS)) == GRANTS


def test_a_stage_that_a_folder_adds_has_rights_too() -> None:
    more = set(grants(Catalog.load(more=(LINKS,)))) - set(GRANTS)
    assert Grant("links-agent", "topic", "links.ready", "write") in more
    assert Grant("links-agent", "topic", "transcript.ready", "read") in more
    assert Grant(GATEWAY, "topic", "links.dead", "read") in more
    assert Grant(SUBSCRIBER, "topic", "links.ready", "read") in more
    assert {grant.user for grant in more} == {"links-agent", GATEWAY, SUBSCRIBER}
