"""`millrace replay` on the real parts: what it finds, what it costs, and that stopping and dying cost nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ShareCreated
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.kafka.producer import open_producer
from millrace.stream.replay.replayer import BATCH
from tests.e2e.apart import Apart, apart
from tests.support.provider import LARGE, Provider, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHARES, TEXTS = 60, 50
"""The last ten shares have texts that others have, too."""
BUDGETS: Final = '[default.summarize]\nhour = "100"\nday = "100"\n'
SLOW: Final = ("--rate", "0.5")
"""It is stopped while it waits behind its first commands."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


@pytest.fixture(scope="module")
def parts(provider: Provider) -> Iterator[Apart]:
    """A summarizing agent, the ledger, and shares that are summarised."""
    with apart(provider.environment(), {"MILLRACE_PRICES": LARGE, "MILLRACE_BUDGETS": BUDGETS}) as made:
        made.start(("cost_ledger", "summarize_agent"))
        asyncio.run(share(made))
        until(lambda: jobs(made) == {"done": SHARES}, "all shares to be summarised", 120)
        assert len(provider.invoice) == TEXTS
        until(lambda: settled(made) == TEXTS, "the journal to have them")
        yield made


async def share(parts: Apart) -> None:
    with Registry(parts.addresses.registry) as registry:
        codec = await Codec.connect(registry, Catalog.load(), ("share.created",))
        async with open_producer(parts.addresses.cluster) as producer:
            for number in range(SHARES):
                event = ShareCreated(
                    share_id=str(uuid.uuid4()),
                    owner="test",
                    source_kind="text",
                    text=f"The miller keeps gate number {number % TEXTS} so that the wheel turns at the same speed.",
                    platform="web",
                    content_type="article",
                    created_at=datetime.now(UTC),
                )
                raw = codec.encode("share.created", event)
                await producer.send("share.created", key=event.share_id.encode(), value=raw, headers=[])


def jobs(parts: Apart) -> Counter[str]:
    rows = parts.sql("SELECT state FROM jobs WHERE stage = 'summarize'")
    return Counter(str(row["state"]) for row in rows)


def settled(parts: Apart) -> int:
    return len(parts.sql("SELECT 1 FROM ledger_entries WHERE outcome = 'settled'"))


def books(parts: Apart) -> list[dict[str, object]]:
    return parts.sql("SELECT * FROM ledger_entries ORDER BY partition, request_offset")


def count(parts: Apart, topic: str) -> int:
    return sum(end for (name, _), end in parts.ends().items() if name == topic)


def listed(parts: Apart, replay: str) -> dict[str, object]:
    found: dict[str, object] = next(
        one for one in parts.millrace_json("replay", "--list")["replays"] if one["replay_id"] == replay
    )
    return found


def worked(parts: Apart, replay: str, states: dict[str, int]) -> None:
    """The stage has brought all commands of a replay to an end."""
    sql = "SELECT state, count(*) AS jobs FROM jobs JOIN replays USING (asked_at) WHERE replay_id = %s GROUP BY state"
    until(
        lambda: {row["state"]: row["jobs"] for row in parts.sql(sql, replay)} == states, f"{replay} to be worked on"
    )
    assert listed(parts, replay)["jobs"] == states


def published(parts: Apart, replay: str) -> int:
    (row,) = parts.sql("SELECT published FROM replays WHERE replay_id = %s", replay)
    assert isinstance(row["published"], int)
    return row["published"]


def begun(parts: Apart, *words: str, commands: int) -> tuple[subprocess.Popen[str], str]:
    """A replay of which so many commands are published, and its id."""
    known = {str(row["replay_id"]) for row in parts.sql("SELECT replay_id FROM replays")}
    process = parts.millrace("replay", "summarize", *SLOW, *words)

    def new() -> list[dict[str, object]]:
        rows = parts.sql("SELECT replay_id FROM replays WHERE published >= %s AND finished_at IS NULL", commands)
        return [row for row in rows if row["replay_id"] not in known]

    return process, str(until(new, "the replay to be under way")[0]["replay_id"])


def test_a_dry_run_says_what_is_done_and_what_the_rest_may_cost(parts: Apart, provider: Provider) -> None:
    before = books(parts), provider.requests, count(parts, "summarize.requested")
    plain = parts.millrace_json("replay", "summarize", "--dry-run")
    assert (plain["shares"], plain["works"], plain["shares_done"]) == (SHARES, TEXTS, SHARES)
    assert (plain["to_do"], plain["estimate_micro_usd"], plain["published"]) == (0, 0, 0)
    again = parts.millrace_json("replay", "summarize", "--dry-run", "--force")
    assert (again["shares_done"], again["to_do"], again["basis"]) == (0, TEXTS, "holds")
    (held,) = parts.sql("SELECT sum(hold_micro_usd)::bigint AS held FROM calls")
    assert again["estimate_micro_usd"] > held["held"], "every answer may have to be asked for once more"
    large = parts.millrace_json("replay", "summarize", "--dry-run", "--model", "stand-in-large")
    assert (large["to_do"], large["model"]) == (TEXTS, "stand-in-large")
    # Ten times the price; each call is rounded up to the micro-dollar, and there may be two of them.
    assert 0 <= 10 * again["estimate_micro_usd"] - large["estimate_micro_usd"] < 2 * 10 * TEXTS
    assert parts.sql("SELECT 1 FROM replays") == []
    assert (books(parts), provider.requests, count(parts, "summarize.requested")) == before


def test_a_model_without_a_price_is_refused_before_anything_is_asked(parts: Apart) -> None:
    before = count(parts, "summarize.requested")
    process = parts.millrace("replay", "summarize", "--model", "nobody-knows-it")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (78, "")
    assert "no price of the model 'nobody-knows-it' is known" in err
    assert count(parts, "summarize.requested") == before


def test_finished_work_is_told_again_and_costs_nothing(parts: Apart, provider: Provider) -> None:
    before, said = (books(parts), provider.requests), count(parts, "summary.ready")
    done = parts.millrace_json("replay", "summarize")
    assert (done["published"], done["finished"]) == (SHARES, True)
    worked(parts, done["replay_id"], {"done": SHARES})
    assert (books(parts), provider.requests) == before
    assert count(parts, "summary.ready") == said + SHARES
    assert parts.sql("SELECT 1 FROM jobs WHERE cost_micro_usd <> 0") == []


def test_shares_offsets_and_times_choose(parts: Apart) -> None:
    rows = parts.sql("SELECT share_id FROM jobs LIMIT 2")
    words = [word for one in (*(str(row["share_id"]) for row in rows), "nobody") for word in ("--share", one)]
    found = parts.millrace_json("replay", "summarize", "--dry-run", *words)
    assert (found["shares"], found["missing"]) == (2, ["nobody"])
    assert parts.millrace_json("replay", "summarize", "--share", "nobody", status=1)["missing"] == ["nobody"]
    first = parts.millrace_json("replay", "summarize", "--dry-run", "--offsets", "share.created:0:1-3")
    assert first["shares"] == 3
    assert parts.millrace_json("replay", "summarize", "--dry-run", "--since", "0s")["shares"] == 0
    process = parts.millrace("replay", "summarize", "--offsets", "share.created:77:0-2")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (78, "millrace: share.created has no partition 77.\n")


def test_a_replay_that_was_interrupted_goes_on_where_it_was(parts: Apart, provider: Provider) -> None:
    before, asked = provider.requests, count(parts, "summarize.requested")
    process, replay = begun(parts, commands=1)
    second = parts.millrace("replay", "--resume", replay)
    assert "is running already" in second.communicate(timeout=60)[1]
    assert second.returncode == 78
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"go on with: millrace replay --resume {replay}" in err
    stopped = listed(parts, replay)
    assert (stopped["state"], stopped["commands"]) == ("stopped", SHARES)
    assert 0 < int(str(stopped["published"])) < SHARES
    done = parts.millrace_json("replay", "--resume", replay)
    assert (done["published"], done["finished"]) == (SHARES, True)
    worked(parts, replay, {"done": SHARES})
    assert SHARES <= count(parts, "summarize.requested") - asked <= SHARES + BATCH
    assert provider.requests == before
    assert parts.millrace_json("replay", "--resume", replay)["published"] == SHARES, "it has ended"


def test_forced_work_is_paid_once_though_the_replay_is_killed(parts: Apart, provider: Provider) -> None:
    before, paid, asked = len(provider.invoice), settled(parts), count(parts, "summarize.requested")
    process, replay = begun(parts, "--force", commands=1)
    process.kill()
    process.communicate(timeout=30)
    sent = published(parts, replay)
    again = parts.millrace("replay", "--resume", replay, *SLOW)
    until(lambda: published(parts, replay) > sent, "it to go on")
    again.kill()
    again.communicate(timeout=30)
    assert listed(parts, replay)["state"] == "stopped"
    # As if the last batch's place had not been written down any more.
    parts.sql("UPDATE replays SET stretches = jsonb_set(stretches, '{0,next}', '0') RETURNING 1")
    done = parts.millrace_json("replay", "--resume", replay)
    assert done["finished"]
    worked(parts, replay, {"done": SHARES})
    assert len(provider.invoice) == before + TEXTS
    assert count(parts, "summarize.requested") > asked + SHARES, "some commands were published twice"
    until(lambda: settled(parts) == paid + TEXTS, "each to be settled")
    assert parts.millrace_json("budget", "audit")["ok"]


def test_another_model_is_used_and_paid_at_its_price(parts: Apart, provider: Provider) -> None:
    share = str(parts.sql("SELECT share_id FROM jobs LIMIT 1")[0]["share_id"])
    before = len(provider.invoice)
    done = parts.millrace_json("replay", "summarize", "--share", share, "--model", "stand-in-large")
    worked(parts, done["replay_id"], {"done": 1})
    (line,) = provider.invoice[before:]
    assert line.model == "stand-in-large"
    (job,) = parts.sql("SELECT model, cost_micro_usd FROM jobs WHERE share_id = %s", share)
    assert job == {"model": "stand-in-large", "cost_micro_usd": line.tokens_in * 5 + line.tokens_out * 20}
