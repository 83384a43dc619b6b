"""Breaks decisive lines one at a time and sees whether a test notices: `python scripts/mutants.py`.

Each mutant is one change to a copy of the tree, and the narrowest tests that have to fail with it. The checkout is
never changed. Exit status: 0 all were caught, 1 some survived, 2 the list does not fit the code or its tests fail.

    python scripts/mutants.py --list
    python scripts/mutants.py --only acks-out-of-order cap-one-beyond

Most integration tests start a stack of their own unless one is named (CONTRIBUTING.md): with one that is kept running
all of it takes a few minutes.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_S: Final = 280.0
"""For one run of pytest. A mutant that hangs its tests is caught: `make test` would hang, too."""
_NARROW: Final = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--tb=no", "-o", "timeout=60")
# hypothesis' plugin ends a run whose test fails with an INTERNALERROR on Python 3.11.7; @given works without it.
_PASSED, _FAILED = 0, 1
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (?P<test>.+?)(?: - (?P<why>.*))?$", re.MULTILINE)

Verdict = Literal["caught", "caught by time", "survived", "does not fit"]


@dataclass(frozen=True)
class Mutant:
    """`old` stands exactly once in `file` and becomes `new`; `tests` must notice that `breaks`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    breaks: str


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant: the first test that failed, or why it could not be tried."""

    name: str
    verdict: Verdict
    seconds: float
    test: str = ""


class DoesNotFit(Exception):
    """The list and the code, or the tests, do not go together any more."""


U: Final = "tests/unit"
I: Final = "tests/integration"  # noqa: E741  # beside U

MUTANTS: Final = (
    # --- What is acknowledged, and when
    Mutant(
        "acks-out-of-order",
        "millrace/stream/acks.py",
        "while window and (head := next(iter(window))) in finished:",
        "for head in sorted(finished):",
        (f"{U}/stream/test_acks.py",),
        "an offset is acknowledged before an unfinished one in front of it",
    ),
    Mutant(
        "acks-after-revocation",
        "millrace/stream/acks.py",
        "            self._open.pop(at, None)\n",
        "",
        (f"{U}/stream/test_acks.py",),
        "a partition that went elsewhere is acknowledged here",
    ),
    Mutant(
        "ack-before-work",
        "millrace/stream/pool.py",
        """            await self._execute(message)
        for event in self._acks.finish(message.at, message.offset):
            event.ack()
""",
        """            for event in self._acks.finish(message.at, message.offset):
                event.ack()
            await self._execute(message)
""",
        (f"{U}/stream/test_pool.py",),
        "a record is acknowledged before its job has ended",
    ),
    Mutant(
        "key-order",
        "millrace/stream/pool.py",
        "        if before is not None:\n            await asyncio.wait([before])\n",
        "",
        (f"{U}/stream/test_pool.py",),
        "jobs of one share run at the same time",
    ),
    Mutant(
        "stale-generation",
        "millrace/stream/pool.py",
        "if raw.generation_id != self._source.generation() or not self._source.flowing():",
        "if not self._source.flowing():",
        (f"{U}/stream/test_pool.py",),
        "a record fetched before a rebalance is taken",
    ),
    Mutant(
        "gap-unnoticed",
        "millrace/stream/positions.py",
        "if offset > expected:",
        "if offset > expected + 1:",
        (f"{U}/stream/test_positions.py",),
        "one skipped record is lost",
    ),
    Mutant(
        "gap-unreported",
        "millrace/stream/pool.py",
        "                self._on_gap(at, self.expected(at), raw.offset)\n",
        "",
        (f"{U}/stream/test_pool.py",),
        "a gap is noticed and the process goes on",
    ),
    Mutant(
        "repeat-taken-twice",
        "millrace/stream/positions.py",
        "if offset < expected:",
        "if offset < expected - 1:",
        (f"{U}/stream/test_positions.py",),
        "a record delivered twice is worked on twice",
    ),
    Mutant(
        "no-seek-to-start",
        "millrace/stream/faust_app.py",
        "if start != committed[tp] or start == 0}",
        "if start != committed[tp]}",
        (f"{U}/stream/test_seek.py",),
        "records fetched during the first rebalance are skipped",
    ),
    Mutant(
        "no-commit-at-revocation",
        "millrace/stream/app.py",
        "await asyncio.wait_for(self.consumer.commit(), COMMIT_WITHIN_S)",
        "pass",
        (f"{U}/stream/test_app.py",),
        "what is done is done again by whoever has the partition next",
    ),
    Mutant(
        "sent-not-confirmed",
        "millrace/kafka/producer.py",
        "await current.send_and_wait(topic,",
        "await current.send(topic,",
        (f"{I}/test_producer.py",),
        "a message counts as out before the broker has it",
    ),
    Mutant(
        "unconfirmed-is-given-up",
        "millrace/kafka/producer.py",
        "                await self._replace(current)\n",
        "                return\n",
        (f"{U}/kafka/test_producer.py",),
        "a message that the broker did not confirm counts as out",
    ),
    Mutant(
        "emitted-unconfirmed",
        "millrace/stream/runner.py",
        """            _, settled = await asyncio.gather(
                self._writer.result(self._spec.output, event, job.work_key, job.incoming.traceparent, told_at),
                calls.all_told(),
            )
""",
        """            self._sent = asyncio.create_task(
                self._writer.result(self._spec.output, event, job.work_key, job.incoming.traceparent, told_at)
            )
            settled = await calls.all_told()
""",
        (f"{I}/test_runner.py",),
        "a job is done before its event is confirmed",
    ),
    Mutant(
        "outbox-forgets",
        "services/api_gateway/outbox.py",
        "            stuck.add(lane)\n",
        "            stuck.add(lane)\n            done.append(row.seq)\n",
        (f"{U}/api_gateway/test_outbox.py",),
        "a share that Kafka has not confirmed leaves the outbox",
    ),
    Mutant(
        "mover-forgets",
        "millrace/stream/mover.py",
        "    try:\n        await writer.forward(",
        "    await waiting.delivered(message)\n    try:\n        await writer.forward(",
        (f"{I}/test_mover.py",),
        "waiting work is removed before its wake-up call is confirmed",
    ),
    Mutant(
        "mover-forgets-the-newer",
        "millrace/store/waiting.py",
        '"DELETE FROM waiting WHERE seq = $1 AND value = $2", message.seq, message.value',
        '"DELETE FROM waiting WHERE seq = $1", message.seq',
        (f"{I}/test_mover.py",),
        "what replaced a waiting message while it went out is lost",
    ),
    Mutant(
        "replay-forgets",
        "millrace/stream/replay/replayer.py",
        """(self._command(writer, replay, message) for message in batch))
                        await progress.confirmed(number, batch[-1].offset + 1, len(batch))
""",
        """[progress.confirmed(number, batch[-1].offset + 1, len(batch))])
                        await asyncio.gather(*(self._command(writer, replay, message) for message in batch))
""",
        (f"{I}/test_replayer.py",),
        "a replay that dies leaves a batch out",
    ),
    Mutant(
        "redelivery-runs-twice",
        "millrace/stream/pool.py",
        "        if place in self._running:\n",
        "        if False:\n",
        (f"{U}/stream/test_pool.py",),
        "a job that outlives a rebalance is run again beside itself",
    ),
    # --- Who owns a piece of work
    Mutant(
        "complete-unfenced",
        "millrace/store/work.py",
        "WHERE work_key = $1 AND fence = $2\n    RETURNING work_key, result",
        "WHERE work_key = $1 AND $2::bigint > 0\n    RETURNING work_key, result",
        (f"{I}/test_leases.py",),
        "a former owner's result is stored",
    ),
    Mutant(
        "renew-unfenced",
        "millrace/store/work.py",
        "SET lease_until = now() + $3 WHERE work_key = $1 AND fence = $2 AND result IS NULL",
        "SET lease_until = now() + $3 WHERE work_key = $1 AND $2::bigint > 0 AND result IS NULL",
        (f"{I}/test_leases.py",),
        "a former owner prolongs the lease of its successor",
    ),
    Mutant(
        "given-back-by-the-former",
        "millrace/store/work.py",
        """             WHERE work_key = $1 AND fence = $2 AND result IS NULL
            \"\"\",""",
        """             WHERE work_key = $1 AND $2::bigint > 0 AND result IS NULL
            \"\"\",""",
        (f"{I}/test_leases.py",),
        "a former owner gives its successor's lease away",
    ),
    Mutant(
        "checkpoint-unfenced",
        "millrace/store/work.py",
        "SET checkpoint = $3::jsonb WHERE work_key = $1 AND fence = $2",
        "SET checkpoint = $3::jsonb WHERE work_key = $1 AND $2::bigint > 0",
        (f"{I}/test_checkpoints.py",),
        "a former owner overwrites its successor's checkpoint",
    ),
    Mutant(
        "claim-of-a-live-lease",
        "millrace/store/work.py",
        "WHERE work.result IS NULL AND work.lease_until < now()\nRETURNING work_key AS key",
        "WHERE work.result IS NULL\nRETURNING work_key AS key",
        (f"{I}/test_take_up.py",),
        "two workers do the same work at once",
    ),
    Mutant(
        "take-up-of-a-live-lease",
        "millrace/store/work.py",
        "WHERE work.result IS NULL AND work.lease_until < now()\n    RETURNING fence, checkpoint",
        "WHERE work.result IS NULL\n    RETURNING fence, checkpoint",
        (f"{I}/test_take_up.py",),
        "a new share's job takes work away from its owner",
    ),
    Mutant(
        "fence-stands-still",
        "millrace/store/work.py",
        """ON CONFLICT (work_key) DO UPDATE
   SET owner = excluded.owner, fence = work.fence + 1,""",
        """ON CONFLICT (work_key) DO UPDATE
   SET owner = excluded.owner, fence = work.fence,""",
        (f"{I}/test_leases.py",),
        "a new owner has the fence of the one before",
    ),
    Mutant(
        "take-up-of-the-cancelled",
        "millrace/store/work.py",
        " AND jobs.asked_at IS NULL AND jobs.cancelled_at IS NULL\n",
        " AND jobs.asked_at IS NULL\n",
        (f"{I}/test_take_up.py",),
        "a job begins although its share was cancelled",
    ),
    Mutant(
        "lease-not-renewed",
        "millrace/stream/lease.py",
        "            await asyncio.sleep(third)\n",
        "            await asyncio.sleep(9 * third)\n",
        (f"{I}/test_leases.py",),
        "work that takes longer than a lease is done twice",
    ),
    Mutant(
        "lease-not-given-back",
        "millrace/stream/runner.py",
        "            await work.give_back(key, mine.fence)\n",
        "",
        (f"{I}/test_checkpoints.py",),
        "a failed try blocks the next one until its lease runs out",
    ),
    Mutant(
        "late-undo",
        "millrace/store/jobs.py",
        "   AND ((jobs.published AND jobs.work_key = excluded.work_key) IS NOT TRUE OR excluded.published\n",
        "   AND (true OR excluded.published\n",
        (f"{I}/test_runner.py",),
        "a worker that was paused makes finished work unfinished",
    ),
    Mutant(
        "old-turn-counts",
        "millrace/store/jobs.py",
        "   AND ((jobs.asked_at, jobs.waited_at) > (excluded.asked_at, excluded.waited_at)) IS NOT TRUE\n",
        "",
        (f"{I}/test_turns.py",),
        "who ends late undoes what came of a later wish",
    ),
    Mutant(
        "first-always",
        "millrace/store/work.py",
        "return self.fence == _FIRST",
        "return True",
        (f"{I}/test_take_up.py", f"{I}/test_runner.py"),
        "a new owner does not look for what an earlier one has paid for",
    ),
    Mutant(
        "done-is-told-again",
        "millrace/stream/job.py",
        "return row.published or (incoming.reason is None",
        "return (incoming.reason is None",
        (f"{I}/test_turns.py",),
        "a later event about finished work emits its result again",
    ),
    Mutant(
        "repeat-while-it-waits",
        "millrace/stream/job.py",
        'return row.published or (incoming.reason is None and row.state in ("waiting", "parked"))',
        "return row.published",
        (f"{I}/test_turns.py",),
        "a later event about work that waits is one more try",
    ),
    Mutant(
        "outage-is-an-error",
        "millrace/store/database.py",
        "            except OUTAGES as exc:\n",
        "            except () as exc:\n",
        (f"{I}/test_vectors.py",),
        "a database that is away for a moment fails jobs",
    ),
    # --- Paid calls
    Mutant(
        "call-unfenced",
        "millrace/store/calls.py",
        "WHERE work_key = $2 AND fence = $10 FOR SHARE",
        "WHERE work_key = $2 AND $10::bigint > 0 FOR SHARE",
        (f"{I}/test_calls.py",),
        "a former owner begins a call under its successor's request id",
    ),
    Mutant(
        "call-after-takeover",
        "millrace/stream/calls.py",
        """            await self._report(request, payer.account, payer.scope, "abandoned", None)
            raise LeaseLost
""",
        """            await self._report(request, payer.account, payer.scope, "abandoned", None)
""",
        (f"{I}/test_calls.py",),
        "a call is made although a new owner has abandoned it",
    ),
    Mutant(
        "late-answer-lost",
        "millrace/store/calls.py",
        "WHERE request_id = $1 AND state IN ('calling', 'unconfirmed')",
        "WHERE request_id = $1 AND state IN ('calling')",
        (f"{I}/test_calls.py",),
        "an answer that comes after a takeover is thrown away",
    ),
    Mutant(
        "answer-paid-twice",
        "millrace/stream/calls.py",
        'if row.state in ("answered", "settled"):\n                if not',
        'if row.state == "answered":\n                if not',
        (f"{I}/test_calls.py",),
        "an answer that was paid for is bought again",
    ),
    Mutant(
        "call-although-denied",
        "millrace/stream/calls.py",
        "            raise Denied(answer, sentence)\n",
        "            return request\n",
        (f"{I}/test_calls.py",),
        "a model is called although the ledger refused",
    ),
    Mutant(
        "call-without-an-answer",
        "millrace/stream/calls.py",
        """await self._store.move(request, "reserving", "abandoned", "the ledger did not answer")
            raise
""",
        """return request
""",
        (f"{I}/test_calls.py",),
        "a model is called although the ledger said nothing",
    ),
    Mutant(
        "settled-for-nothing",
        "millrace/stream/calls.py",
        "actual=paid.cost, hurry=False)",
        "actual=MicroUSD(0), hurry=False)",
        (f"{I}/test_calls.py",),
        "a call is settled with another amount than it cost",
    ),
    Mutant(
        "never-settled",
        "millrace/stream/calls.py",
        "        return list(self._telling)\n",
        "        return []\n",
        (f"{I}/test_runner.py",),
        "nobody writes down that the ledger was told",
    ),
    Mutant(
        "result-before-settle",
        "millrace/stream/calls.py",
        "        await asyncio.gather(*self._telling.values())\n",
        "",
        (f"{I}/test_runner.py",),
        "a job is done, and its calls noted as settled, before the ledger was told",
    ),
    Mutant(
        "unknown-is-refunded",
        "millrace/stream/calls.py",
        'await _to_the_end(self._end(request, "unconfirmed", reason))',
        'await _to_the_end(self._end(request, "released", reason))',
        (f"{I}/test_calls.py",),
        "a call that may have been billed is given back",
    ),
    Mutant(
        "retryable-is-charged",
        "millrace/stream/calls.py",
        'await _to_the_end(self._end(request, "released", str(exc), counted=paused is None))',
        'await _to_the_end(self._end(request, "unconfirmed", str(exc), counted=paused is None))',
        (f"{I}/test_calls.py",),
        "a call that was surely not billed stays charged",
    ),
    Mutant(
        "hold-refunds-the-unknown",
        "millrace/ledger/grant.py",
        "elif isinstance(error, Retryable | Poison):",
        "elif isinstance(error, Exception):",
        (f"{U}/ledger/test_grant.py",),
        "leaving a hold's block by any error gives the money back",
    ),
    Mutant(
        "calls-unbounded",
        "millrace/stream/calls.py",
        "if len(counted) >= MAX_CALLS:",
        "if len(counted) > MAX_CALLS:",
        (f"{I}/test_calls.py",),
        "one more call than is allowed is paid for",
    ),
    Mutant(
        "recovers-only-its-own",
        "millrace/stream/calls.py",
        "if self._first and not self._begun:",
        "if not self._begun:",
        (f"{I}/test_calls.py",),
        "a call that an earlier owner left open stays so",
    ),
    Mutant(
        "recovered-as-unpaid",
        "millrace/stream/calls.py",
        """row.request_id, "calling", "unconfirmed", "the process ended during the call"
            ):
                await self._tell(row, "unconfirmed")
""",
        """row.request_id, "calling", "released", "the process ended during the call"
            ):
                await self._tell(row, "released")
""",
        (f"{I}/test_calls.py",),
        "a call that a dead process may have made is given back",
    ),
    Mutant(
        "answer-not-to-the-end",
        "millrace/stream/calls.py",
        "        await _to_the_end(self._keep(request, paid))\n",
        "        await self._keep(request, paid)\n",
        (f"{I}/test_calls.py",),
        "a job that is cancelled at the wrong moment loses a paid answer",
    ),
    Mutant(
        "late-grant-held",
        "millrace/ledger/client.py",
        """            self._let_go(request_id, account, scope)
            raise
""",
        """            raise
""",
        (f"{U}/ledger/test_client.py",),
        "a grant that comes too late holds money for nobody",
    ),
    Mutant(
        "invalid-is-an-answer",
        "millrace/ledger/client.py",
        'if decision.outcome != "invalid":',
        "if True:",
        (f"{U}/ledger/test_client.py",),
        "what the ledger could not decide counts as its refusal",
    ),
    Mutant(
        "hold-shorter-than-the-work",
        "millrace/stream/stage.py",
        "return self.hard_limit + timedelta(minutes=5)",
        "return timedelta(minutes=5)",
        (f"{U}/stream/test_stage.py",),
        "the money of a long call is given up while it is being spent",
    ),
    Mutant(
        "every-delivery-is-a-round",
        "millrace/store/jobs.py",
        "INSERT INTO fresh_rounds (subject, round) VALUES ($3, $4) ON CONFLICT DO NOTHING RETURNING subject",
        "INSERT INTO fresh_rounds (subject, round) VALUES ($3, $4 || random()) RETURNING subject",
        (f"{I}/test_calls.py",),
        "a redrive that is delivered again pays for as many calls again",
    ),
    Mutant(
        "each-letter-is-a-round",
        "services/api_gateway/dead_commands.py",
        'f"{REDRIVE}{together or letter.id}"',
        'f"{REDRIVE}{letter.id}"',
        (f"{I}/test_dead_letters.py",),
        "letters that need the same work pay for it as often as there are letters",
    ),
    Mutant(
        "lost-answers-are-refunded",
        "millrace/models/openai_api.py",
        "    if status in _LOST:\n        return UnknownOutcome(",
        "    if status in _LOST:\n        return Retryable(",
        (f"{I}/test_openai_api.py",),
        "an answer that a proxy lost, and the provider billed, is given back",
    ),
    Mutant(
        "silence-is-refunded",
        "millrace/models/openai_api.py",
        "if type(exc.__cause__).__name__ in _NEVER_SENT:",
        "if exc.__cause__ is not None:",
        (f"{I}/test_openai_api.py",),
        "a request that was sent and not answered is given back",
    ),
    Mutant(
        "client-repeats-by-itself",
        "millrace/models/openai_api.py",
        "max_retries=0,",
        "max_retries=1,",
        (f"{I}/test_openai_api.py",),
        "a call is made again without a grant of its own",
    ),
    Mutant(
        "any-answer-will-do",
        "millrace/ledger/answers.py",
        "                if op == decision.op:\n",
        "                if op:\n",
        (f"{U}/ledger/test_answers.py",),
        "the answer to a release is taken for one to a reserve",
    ),
    Mutant(
        "opening-is-an-answer",
        "millrace/ledger/answers.py",
        ' and decision.outcome != "day-opened":',
        ":",
        (f"{U}/ledger/test_answers.py",),
        "what a new day repeats of an open hold is taken for an answer",
    ),
    # --- Ids that make a repeat recognisable
    Mutant(
        "event-id-by-chance",
        "millrace/ids.py",
        'uuid.uuid5(_NAMESPACE, f"event|{topic}|{share}|{work}")',
        "uuid.uuid4()",
        (f"{U}/test_ids.py",),
        "an event that is emitted again looks like another one",
    ),
    Mutant(
        "event-id-without-work",
        "millrace/ids.py",
        'f"event|{topic}|{share}|{work}"',
        'f"event|{topic}|{share}"',
        (f"{U}/test_ids.py",),
        "the result of other work has the id of the first",
    ),
    Mutant(
        "request-id-without-attempt",
        "millrace/ids.py",
        'f"request|{work}|{call_no}|{attempt}"',
        'f"request|{work}|{call_no}"',
        (f"{U}/test_ids.py",),
        "the second try of a call spends the hold of the first",
    ),
    Mutant(
        "request-id-without-work",
        "millrace/ids.py",
        'f"request|{work}|{call_no}|{attempt}"',
        'f"request|{call_no}|{attempt}"',
        (f"{U}/test_ids.py",),
        "calls of different work share one hold",
    ),
    Mutant(
        "work-key-without-model",
        "millrace/ids.py",
        "json.dumps([content, model, sorted(",
        "json.dumps([content, sorted(",
        (f"{U}/test_ids.py",),
        "another model's result is taken for this one's",
    ),
    Mutant(
        "work-key-without-generation",
        "millrace/stream/stage.py",
        "{**self.parameters, **again}",
        "self.parameters",
        (f"{U}/stream/test_stage.py",),
        "work that is asked for once more is not done again",
    ),
    Mutant(
        "named-model-is-ignored",
        "services/summarize_agent/handler.py",
        "self._summarizers.of(options.get(MODEL_OPTION))",
        "self._summarizers.of(None)",
        (f"{U}/summarize_agent/test_handler.py",),
        "a replay with another model is done by the stage's own",
    ),
    Mutant(
        "missing-model-is-ignored",
        "services/transcribe_agent/handler.py",
        "self._models.of(options.get(MODEL_OPTION)).model",
        "self._models.of(None).model",
        (f"{U}/transcribe_agent/test_handler.py",),
        "a replay with a model that is not here is done by another",
    ),
    Mutant(
        "dead-letter-id-without-round",
        "millrace/ids.py",
        'f"dead|{stage}|{began}|{digest}"',
        'f"dead|{stage}|{digest}"',
        (f"{U}/contracts/test_dead.py",),
        "a message that dies again after a redrive is not shown",
    ),
    # --- Where jobs end
    Mutant(
        "one-try-too-many",
        "millrace/stream/endings.py",
        "if attempt >= (MAX_ATTEMPTS_OVER_LIMIT",
        "if attempt > (MAX_ATTEMPTS_OVER_LIMIT",
        (f"{I}/test_runner.py",),
        "a job is tried once more than it may be",
    ),
    Mutant(
        "over-limit-like-others",
        "millrace/stream/endings.py",
        "(MAX_ATTEMPTS_OVER_LIMIT if isinstance(error, OverLimit) else MAX_ATTEMPTS)",
        "MAX_ATTEMPTS",
        (f"{I}/test_runner.py",),
        "work beyond its hard limit is tried three times",
    ),
    Mutant(
        "outage-counts-as-a-try",
        "millrace/stream/runner.py",
        "except (Unavailable, LeaseLost) as exc:",
        "except LeaseLost as exc:",
        (f"{I}/test_runner.py",),
        "an outage of ours makes dead letters",
    ),
    Mutant(
        "dead-letter-is-the-command",
        "millrace/stream/endings.py",
        "            self._spec.dead,\n            incoming.original,\n",
        "            self._spec.dead,\n"
        "            Original(place_of(incoming.message), incoming.message.key, incoming.message.value, {}),\n",
        (f"{I}/test_runner.py",),
        "the original bytes of a dead letter are lost",
    ),
    Mutant(
        "failed-before-its-dead-letter",
        "millrace/stream/endings.py",
        """        await self._writer.dead_letter(
            stage,
            self._spec.dead,
            incoming.original,
""",
        """        status = failed_status(event, stage, now, reason="", attempt=attempt, work_key=work_key)
        await self._jobs.put(status, incoming.ask)
        await self._writer.dead_letter(
            stage,
            self._spec.dead,
            incoming.original,
""",
        (f"{I}/test_turns.py", f"{I}/test_dead_letters.py"),
        "a process that dies in between leaves a failed job without a dead letter",
    ),
    Mutant(
        "unreadable-is-dropped",
        "millrace/stream/runner.py",
        "            except Poison as exc:\n                await self._end.bury(message, exc)\n",
        "            except Poison:\n",
        (f"{I}/test_runner.py",),
        "bytes that cannot be read are acknowledged and gone",
    ),
    Mutant(
        "waits-for-nothing",
        "millrace/store/jobs.py",
        "            await waiting.put(connection, message)\n",
        "",
        (f"{I}/test_runner.py",),
        "a job waits without anything that wakes it",
    ),
    Mutant(
        "no-hard-limit",
        "millrace/stream/limits.py",
        "asyncio.timeout(spec.hard_limit.total_seconds())",
        "asyncio.timeout(None)",
        (f"{U}/stream/test_limits.py::test_at_the_hard_limit_work_is_ended",),
        "work that hangs is never ended",
    ),
    Mutant(
        "cancelled-and-woken",
        "millrace/store/cancel.py",
        "DELETE FROM waiting USING ended WHERE (waiting.share_id, waiting.stage) = (ended.share_id, ended.stage)",
        "SELECT FROM ended",
        (f"{I}/test_cancel.py",),
        "what would wake a cancelled job stays",
    ),
    Mutant(
        "foreign-commands",
        "millrace/stream/messages.py",
        "if event.origin_topic not in self._inputs:",
        "if not event.origin_topic:",
        (f"{I}/test_runner.py::test_a_command_with_a_readable_message_that_the_stage_does_not_read_is_one_too",),
        "a command lets a stage read a message of any topic",
    ),
    Mutant(
        "cancelled-and-paid",
        "millrace/stream/cancel.py",
        "        self.check()\n        self._paying = True\n",
        "        self._paying = True\n",
        (f"{U}/stream/test_stop.py", f"{I}/test_cancel.py"),
        "a cancelled job makes one more paid call",
    ),
    Mutant(
        "cuts-off-paid-calls",
        "millrace/stream/cancel.py",
        "        if not self._paying:\n            self._pull(at=_now())\n",
        "        self._pull(at=_now())\n",
        (f"{U}/stream/test_stop.py",),
        "a cancel throws away an answer that is being paid for",
    ),
    Mutant(
        "intake-never-closes",
        "millrace/stream/dead_ratio.py",
        "sum(recent) > limit.share * len(recent)",
        "sum(recent) > len(recent)",
        (f"{U}/stream/test_dead_ratio.py",),
        "a bad deployment makes dead letters of a whole topic",
    ),
    Mutant(
        "all-are-probes",
        "millrace/stream/intake.py",
        "            if await self._store.probe():\n",
        "            if await self._store.probe() or True:\n",
        (f"{I}/test_intake.py",),
        "a stage that was stopped goes on with all jobs instead of trying one",
    ),
    Mutant(
        "cancelled-goes-on",
        "millrace/stream/cancel.py",
        """            self._paying = False
            if self._asked:
                self._pull(at=_now())
""",
        """            self._paying = False
""",
        (f"{U}/stream/test_stop.py",),
        "a job that was cancelled during a paid call goes on after it",
    ),
    Mutant(
        "dead-letter-without-its-headers",
        "millrace/contracts/dead.py",
        "return [*_original(death.headers.items()), *ours]",
        "return ours",
        (f"{U}/contracts/test_dead.py",),
        "the original headers of a dead letter are lost",
    ),
    # --- Leaving alone what does not work
    Mutant(
        "backoff-does-not-grow",
        "millrace/stream/backoff.py",
        "FIRST_S * 2.0 ** (attempt - 1)",
        "FIRST_S",
        (f"{U}/stream/test_backoff.py",),
        "a failing provider is asked every two seconds",
    ),
    Mutant(
        "backoff-ignores-the-provider",
        "millrace/stream/backoff.py",
        "max(jittered, min(retry_after_s or 0.0, LONGEST_ASKED_S))",
        "jittered",
        (f"{U}/stream/test_backoff.py",),
        "a provider that asks for time is not given it",
    ),
    Mutant(
        "breaker-late",
        "millrace/stream/gates.py",
        "return self._failures[name] >= DOWN_AFTER",
        "return self._failures[name] > DOWN_AFTER",
        (f"{I}/test_gates.py",),
        "a provider that is down is called once more than it should be",
    ),
    Mutant(
        "breaker-pause-does-not-grow",
        "millrace/stream/breaker.py",
        "FIRST_PAUSE_S * 2.0 ** min(closings, 16)",
        "FIRST_PAUSE_S",
        (f"{U}/stream/test_breaker.py",),
        "a provider that stays down is tried every ten seconds",
    ),
    Mutant(
        "newcomers-overtake",
        "millrace/stream/gates.py",
        "if gate is not None and self._ticket != name:",
        "if gate is not None and gate.closed and self._ticket != name:",
        (f"{I}/test_gates.py",),
        "all call a provider whose recovery one should try",
    ),
    Mutant(
        "all-try-at-once",
        "millrace/store/waiting.py",
        "LIMIT open.allowed - open.under_way",
        "LIMIT 50",
        (f"{I}/test_gates.py",),
        "all that wait behind a gate try at once",
    ),
    Mutant(
        "gate-stays-wide",
        "millrace/store/waiting.py",
        "SET until = excluded.until, allowed = 1,",
        "SET until = excluded.until,",
        (f"{I}/test_gates.py",),
        "a gate that closes again lets through as many as before",
    ),
    Mutant(
        "budget-asked-by-each",
        "millrace/stream/gates.py",
        "or hold <= gate.refusal.left_micro_usd",
        "or hold > 0",
        (f"{I}/test_gates.py",),
        "each job asks a budget that has just refused as much",
    ),
    # --- What the ledger grants
    Mutant(
        "cap-one-beyond",
        "services/cost_ledger/decide.py",
        "if used + amount > row.cap:",
        "if used + amount > row.cap + 1:",
        (f"{U}/ledger/test_decide.py",),
        "a micro-dollar more than the cap is granted",
    ),
    Mutant(
        "cap-one-short",
        "services/cost_ledger/decide.py",
        "if used + amount > row.cap:",
        "if used + amount >= row.cap:",
        (f"{U}/ledger/test_decide.py",),
        "the last micro-dollar of a cap is refused",
    ),
    Mutant(
        "no-hour-caps",
        "services/cost_ledger/decide.py",
        "        for window in WINDOWS:\n",
        '        for window in WINDOWS:\n            if window == "hour":\n                continue\n',
        (f"{U}/ledger/test_decide.py",),
        "the caps of hours do not hold",
    ),
    Mutant(
        "no-day-caps",
        "services/cost_ledger/decide.py",
        "        for window in WINDOWS:\n",
        '        for window in WINDOWS:\n            if window == "day":\n                continue\n',
        (f"{U}/ledger/test_decide.py",),
        "the caps of days do not hold",
    ),
    Mutant(
        "no-total-caps",
        "services/cost_ledger/decide.py",
        "for scope in (request.scope, TOTAL):",
        "for scope in (request.scope,):",
        (f"{U}/ledger/test_decide.py",),
        "the cap of all stages together does not hold",
    ),
    Mutant(
        "repeat-granted-anew",
        "services/cost_ledger/decide.py",
        "return _repeated(request, hold, at) if isinstance(hold, HoldRow) else _reserve(get, request, at)",
        "return _reserve(get, request, at)",
        (f"{U}/ledger/test_decide.py",),
        "a request that arrives twice holds money twice",
    ),
    Mutant(
        "late-settle-ignored",
        "services/cost_ledger/decide.py",
        '"settle": (frozenset({"held", "unconfirmed", "released"}), "settled", "settled"),',
        '"settle": (frozenset({"held"}), "settled", "settled"),',
        (f"{U}/ledger/test_decide.py",),
        "a cost that is told late is not booked",
    ),
    Mutant(
        "release-overtakes-in-vain",
        "services/cost_ledger/evolve.py",
        "            return {key: _closed(decision, at_ms)}\n",
        "            return {}\n",
        (f"{U}/ledger/test_decide.py",),
        "a release that overtakes its reserve leaves the money held",
    ),
    Mutant(
        "overrun-unseen",
        "services/cost_ledger/decide.py",
        "overrun=max(0, actual - covered)",
        "overrun=0",
        (f"{U}/ledger/test_decide.py",),
        "what a call cost above its hold is not shown",
    ),
    Mutant(
        "held-is-reconciled",
        "services/cost_ledger/decide.py",
        '"reconcile": (frozenset({"unconfirmed"}), "settled", "reconciled"),',
        '"reconcile": (frozenset({"unconfirmed", "held"}), "settled", "reconciled"),',
        (f"{U}/ledger/test_decide.py",),
        "a call that is under way is settled by hand",
    ),
    Mutant(
        "released-covers-itself",
        "services/cost_ledger/decide.py",
        'covered = 0 if hold.state == "released" else hold.amount',
        "covered = hold.amount",
        (f"{U}/ledger/test_decide.py",),
        "what was billed after its hold had been given back is no overrun",
    ),
    Mutant(
        "expires-early",
        "services/cost_ledger/decide.py",
        'if request.op == "expire" and at.ms < hold.expires_at:',
        'if request.op == "expire" and at.ms < 0:',
        (f"{U}/ledger/test_decide.py",),
        "a hold runs out before its time",
    ),
    Mutant(
        "expiry-frees-the-money",
        "services/cost_ledger/effects.py",
        "return WindowRow(held=-amount, unconfirmed=amount)",
        "return WindowRow(held=-amount)",
        (f"{U}/ledger/test_decide.py",),
        "what may have been billed is granted to others",
    ),
    Mutant(
        "holds-never-expire",
        "services/cost_ledger/partition.py",
        "            and row.expires_at <= now_ms\n",
        "            and row.expires_at < 0\n",
        (f"{U}/ledger/test_partition.py",),
        "a hold of a process that died is open for ever",
    ),
    Mutant(
        "granted-before-the-caps",
        "services/cost_ledger/decide.py",
        "if request.amount_micro_usd > 0 and get(LAST_CAP_AT_START) is None:",
        "if request.amount_micro_usd < 0:",
        (f"{U}/ledger/test_decide.py",),
        "a ledger without its caps grants everything",
    ),
    Mutant(
        "accounts-of-others",
        "services/cost_ledger/decide.py",
        "if not for_all and not owns(request.account):",
        "if not for_all and False:",
        (f"{U}/ledger/test_decide.py",),
        "an account has a budget in each partition",
    ),
    Mutant(
        "time-steps-back",
        "services/cost_ledger/state.py",
        "at_ms = max(before.at, record.at_ms)",
        "at_ms = record.at_ms",
        (f"{U}/ledger/test_decide.py",),
        "a broker's clock that steps back opens a spent hour again",
    ),
    Mutant(
        "clients-clocks",
        "services/cost_ledger/intake.py",
        "if kind != TIMESTAMP_LOG_APPEND_TIME:",
        "if kind < 0:",
        (f"{U}/ledger/test_intake.py",),
        "whoever asks for money says which hour it is",
    ),
    Mutant(
        "counted-twice",
        "services/cost_ledger/spend.py",
        'if row is None or (row["as_of"] or 0) < decided.offset:',
        "if True:",
        (f"{U}/ledger/test_spend.py",),
        "a decision that arrives again is spent again in the tables",
    ),
    # --- The ledger's log
    Mutant(
        "writers-not-fenced",
        "services/cost_ledger/log.py",
        'f"{self.app_id}-{partition}-{turn}"',
        'f"{self.app_id}-{self.owner}-{partition}-{turn}"',
        (f"{I}/test_ledger.py::test_a_former_owner_is_fenced_and_its_batch_is_not_there",),
        "two owners of a partition write grants",
    ),
    Mutant(
        "one-turn-not-fenced",
        "services/cost_ledger/log.py",
        """            self._writers.extend(at_once.map(self._ready_writer, ids))
        self._turns = cycle(self._writers)
        return self._read_to(self._write_fence())
""",
        """            self._writers.extend(at_once.map(self._ready_writer, ids[:1]))
        self._turns = cycle(self._writers)
        stored = self._read_to(self._write_fence())
        self._writers.append(self._ready_writer(ids[1]))
        self._turns = cycle(self._writers)
        return stored
""",
        (f"{I}/test_ledger.py::test_nobody_can_write_any_more_when_a_new_owner_reads",),
        "a former owner's last batch is missing in what the new one reads",
    ),
    Mutant(
        "position-not-written",
        "services/cost_ledger/log.py",
        "        records.append(_Record(topics.rows, POSITION_KEY, encode_row(batch.position)))\n",
        "",
        (f"{I}/test_ledger.py::test_a_former_owner_is_fenced_and_its_batch_is_not_there",),
        "a new owner decides again what was decided",
    ),
    Mutant(
        "requests-decided-twice",
        "services/cost_ledger/partition.py",
        "fresh = [record for record in records if record.offset >= self.next_offset]",
        "fresh = [*records]",
        (f"{U}/ledger/test_partition.py",),
        "requests that are delivered again hold up the partition",
    ),
    Mutant(
        "requests-with-holes",
        "services/cost_ledger/partition.py",
        "if offsets != list(range(self.next_offset, self.next_offset + len(fresh))):",
        "if offsets != sorted(offsets):",
        (f"{U}/ledger/test_partition.py",),
        "a request that was skipped is never decided",
    ),
    Mutant(
        "rows-unverified",
        "services/cost_ledger/state.py",
        "return digest == position.digest",
        "return True",
        (f"{U}/ledger/test_rows.py",),
        "lost or foreign rows are taken for the books",
    ),
    Mutant(
        "core-reads-uncommitted",
        "services/cost_ledger/log.py",
        '"isolation.level": "read_committed"',
        '"isolation.level": "read_uncommitted"',
        (f"{I}/test_ledger.py::test_a_batch_of_which_one_send_fails_is_not_committed",),
        "a new owner loads rows of a batch that was never committed",
    ),
    Mutant(
        "client-reads-uncommitted",
        "millrace/ledger/answers.py",
        'isolation_level="read_committed"',
        'isolation_level="read_uncommitted"',
        (f"{I}/test_ledger.py::test_grants_of_an_aborted_transaction_are_seen_by_nobody",),
        "a grant that was never given is believed",
    ),
    Mutant(
        "tables-read-uncommitted",
        "services/cost_ledger/tables.py",
        "self.consumer.in_transaction = True",
        "self.consumer.in_transaction = False",
        (f"{I}/test_ledger.py::test_grants_of_an_aborted_transaction_are_seen_by_nobody",),
        "decisions that were never committed are journaled",
    ),
    Mutant(
        "journal-after-ack",
        "services/cost_ledger/recorder.py",
        """        await self._write(ready)
        for one in batch:
            if isinstance(one, Arrived):
                one.ack()
""",
        """        for one in batch:
            if isinstance(one, Arrived):
                one.ack()
        await self._write(ready)
""",
        (f"{U}/ledger/test_spend.py",),
        "a decision is acknowledged before it is journaled",
    ),
    # --- What comes in
    Mutant(
        "grouped-suffer-together",
        "millrace/store/grouped.py",
        "                    await self._one_by_one(group)\n",
        "                    _fail(group, exc)\n",
        (f"{I}/test_grouped.py",),
        "one statement that fails fails all that went with it",
    ),
    Mutant(
        "grouped-in-any-order",
        "millrace/store/grouped.py",
        "return sorted(group.values(), key=lambda asked: asked.key)",
        "return list(group.values())",
        (f"{I}/test_grouped.py",),
        "two processes lock the same rows in different orders",
    ),
    Mutant(
        "wire-any-magic",
        "millrace/contracts/wire.py",
        "if magic != _MAGIC:",
        "if magic < _MAGIC:",
        (f"{U}/contracts/test_wire.py",),
        "bytes that are no Confluent message are read as one",
    ),
    Mutant(
        "wire-trailing-bytes",
        "millrace/contracts/wire.py",
        "    if left:\n",
        "    if left < 0:\n",
        (f"{U}/contracts/test_wire.py",),
        "a message with bytes behind its record is taken",
    ),
    Mutant(
        "writes-too-large",
        "millrace/contracts/wire.py",
        "        self._check_size(topic, raw)\n        return raw\n",
        "        return raw\n",
        (f"{U}/contracts/test_wire.py",),
        "a message that the topic does not take is tried for ever",
    ),
    Mutant(
        "reads-too-large",
        "millrace/contracts/wire.py",
        "        self._check_size(topic, raw)\n        return _schema_id(topic, raw), reader\n",
        "        return _schema_id(topic, raw), reader\n",
        (f"{U}/contracts/test_wire.py",),
        "a message larger than its topic takes is unpacked",
    ),
    Mutant(
        "private-addresses-mapped",
        "services/media_agent/domain.py",
        "if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:",
        "if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None and False:",
        (f"{U}/media_agent/test_domain.py",),
        "an IPv4 address in IPv6 clothes is judged as another one",
    ),
    Mutant(
        "private-addresses",
        "services/media_agent/domain.py",
        "return ip.is_global and not odd",
        "return not odd",
        (f"{U}/media_agent/test_domain.py",),
        "media is fetched from private networks",
    ),
    Mutant(
        "names-unchecked",
        "services/media_agent/adapters/http.py",
        "resolver=resolver if target.allowed else CheckedResolver(resolver),",
        "resolver=resolver,",
        (f"{I}/test_media.py",),
        "a name that also leads into a private network is fetched from",
    ),
    Mutant(
        "connections-unchecked",
        "services/media_agent/adapters/http.py",
        "socket_factory=None if target.allowed else public_socket,",
        "socket_factory=None,",
        (f"{I}/test_media.py",),
        "an address that the client understands by itself is connected to",
    ),
    Mutant(
        "proxy-of-the-environment",
        "services/media_agent/adapters/http.py",
        "trust_env=False,",
        "trust_env=True,",
        (f"{I}/test_media.py",),
        "a proxy of the environment goes past the check of addresses",
    ),
    Mutant(
        "rounded-down",
        "millrace/money.py",
        "rounding=ROUND_CEILING",
        'rounding="ROUND_DOWN"',
        (f"{U}/test_money.py",),
        "the books hold less than the invoice",
    ),
)


def mutated(mutant: Mutant, root: Path) -> str:
    """The file with the change.

    :raises DoesNotFit: the old text does not stand there exactly once, or the new file is no Python.
    """
    path = root / mutant.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (found := text.count(mutant.old)) != 1:
        raise DoesNotFit(f"{mutant.name}: its text stands {found} times in {mutant.file}")
    changed = text.replace(mutant.old, mutant.new)
    try:
        ast.parse(changed)
    except SyntaxError as exc:
        raise DoesNotFit(f"{mutant.name}: {mutant.file} would be no Python ({exc})") from exc
    return changed


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """A fresh copy of what git knows or would add: no bytecode of another mutant, and none left behind."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    with tempfile.TemporaryDirectory(prefix="millrace-mutant-") as folder:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():  # else deleted and not committed
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Path(folder)


def pytest(tests: Iterable[str], folder: Path, timeout_s: float = TIMEOUT_S) -> tuple[int | None, str]:
    """Run tests in a copy; exit status (None: it took too long) and output."""
    process = subprocess.Popen(
        (sys.executable, "-m", "pytest", *_NARROW, *tests),
        cwd=folder,
        # First on the path: an editable install may lead to the checkout, also in processes that tests start.
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, output


def check_tests(mutants: Sequence[Mutant]) -> None:
    """See that the tests pass without any mutant, file by file.

    :raises DoesNotFit: some do not, or they would not test the copy.
    """
    files: dict[str, dict[str, None]] = {}
    for mutant in mutants:
        for test in mutant.tests:
            files.setdefault(test.split("::")[0], {})[test] = None
    with copy_of_the_tree() as folder:
        origin = subprocess.run(
            (sys.executable, "-c", "import millrace, services; print(millrace.__file__, services.__path__)"),
            cwd=folder.parent,
            env={**os.environ, "PYTHONPATH": str(folder)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        if origin.count(str(folder)) != 2:
            raise DoesNotFit(f"the copy in {folder} would not be tested, but {origin.strip()}")
        for number, (file, tests) in enumerate(files.items(), 1):
            began = time.monotonic()
            status, output = pytest([file] if file in tests else tests, folder)
            say(f"[{number}/{len(files)}] {file}: unchanged, {time.monotonic() - began:.1f} s")
            if status != _PASSED:
                raise DoesNotFit(f"{file} does not pass without a mutant ({status=}):\n{output[-2000:]}")


def attempt(mutant: Mutant) -> Outcome:
    """Let the tests of a mutant judge it."""
    began = time.monotonic()
    with copy_of_the_tree() as folder:
        (folder / mutant.file).write_text(mutated(mutant, folder), encoding="utf-8")
        status, output = pytest(mutant.tests, folder)
    seconds = round(time.monotonic() - began, 1)
    failure = _FAILURE.search(output)
    test = failure["test"] if failure else ""
    if status is None or (failure and "Timeout (>" in (failure["why"] or "")):
        return Outcome(mutant.name, "caught by time", seconds, test)
    if status == _PASSED:
        return Outcome(mutant.name, "survived", seconds)
    if status == _FAILED and failure:
        return Outcome(mutant.name, "caught", seconds, test)
    return Outcome(mutant.name, "does not fit", seconds, f"pytest ended with {status}: {output[-300:].strip()}")


def say(line: str) -> None:
    """Progress, beside the table on stdout."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def chosen(names: Sequence[str] | None) -> list[Mutant]:
    """The mutants of these names, or all.

    :raises DoesNotFit: a name is unknown, or given to two mutants.
    """
    known = {mutant.name: mutant for mutant in MUTANTS}
    if len(known) != len(MUTANTS):
        raise DoesNotFit("two mutants have the same name")
    if unknown := set(names or ()) - known.keys():
        raise DoesNotFit(f"there is no mutant {', '.join(sorted(unknown))}: see --list")
    return [mutant for mutant in MUTANTS if not names or mutant.name in names]


def judge(mutants: Sequence[Mutant]) -> list[Outcome]:
    """Check the list and its tests, then try each mutant.

    :raises DoesNotFit: before any was tried.
    """
    for mutant in mutants:
        mutated(mutant, ROOT)
    check_tests(mutants)
    outcomes = []
    for number, mutant in enumerate(mutants, 1):
        outcome = attempt(mutant)
        outcomes.append(outcome)
        say(f"[{number}/{len(mutants)}] {outcome.verdict}: {mutant.name} ({outcome.seconds} s) {outcome.test}")
    return outcomes


def table(mutants: Sequence[Mutant], outcomes: Sequence[Outcome]) -> str:
    """One line a mutant, and how many were caught."""
    width = max(len(mutant.name) for mutant in mutants)
    lines = [
        f"{outcome.verdict:14}  {mutant.name:{width}}  {mutant.breaks}"
        for mutant, outcome in zip(mutants, outcomes, strict=True)
    ]
    caught = sum(outcome.verdict.startswith("caught") for outcome in outcomes)
    return "\n".join([*lines, f"{caught} of {len(outcomes)} caught"])


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="try only these")
    parser.add_argument("--list", action="store_true", help="say which there are and which tests judge them")
    parser.add_argument("--json", action="store_true", help="the outcomes as one JSON document")
    options = parser.parse_args()
    try:
        mutants = chosen(options.only)
        if options.list:
            for mutant in mutants:
                print(f"{mutant.name}: {mutant.breaks} [{mutant.file}; {' '.join(mutant.tests)}]")  # noqa: T201
            return 0
        outcomes = judge(mutants)
    except DoesNotFit as exc:
        say(str(exc))
        return 2
    if options.json:
        breaks = {mutant.name: mutant.breaks for mutant in mutants}
        print(json.dumps([{**asdict(one), "breaks": breaks[one.name]} for one in outcomes], indent=2))  # noqa: T201
    else:
        print(table(mutants, outcomes))  # noqa: T201
    verdicts = {outcome.verdict for outcome in outcomes}
    return 2 if "does not fit" in verdicts else int("survived" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
