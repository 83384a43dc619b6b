"""The spend tables and the recorder that fills them: whatever arrives, late, twice or not at all."""

from __future__ import annotations

import asyncio
from random import Random

from services.cost_ledger.recorder import Arrived, Behind
from services.cost_ledger.rows import WindowKey, WindowRow
from services.cost_ledger.spend import Decided
from tests.support.spend_world import World
from tests.support.waiting import eventually
from tests.unit.ledger.build import DAY, HOUR, NOON, Partition, request, reserve, set_cap, settle


def busy(ledger: Partition) -> list[Decided]:
    """Decisions with every kind of change over two days, at offsets with gaps as transactions leave them."""
    chance = Random(7)  # noqa: S311  # the same day every time
    ledger.ask(set_cap("hour", 500), set_cap("day", 4_000))
    for number in range(60):
        ledger.now += HOUR // 4
        scope = chance.choice(["embed", "transcribe"])
        ledger.ask(reserve(f"r{number}", chance.randint(0, 90), chance.choice("ab"), scope))
        for account in "ab":
            ledger.ask(settle(f"r{chance.randint(0, number)}", chance.randint(0, 120), account))
            ledger.ask(request("release", f"r{chance.randint(0, number)}", account))
            ledger.ask(request("unknown", f"r{chance.randint(0, number)}", account))
    return [Decided(0, index * 2 + 3, decision) for index, decision in enumerate(ledger.decisions)]


def truth(ledger: Partition) -> dict[WindowKey, WindowRow]:
    """The sums as the admission core has them."""
    return {k: r for k, r in ledger.state.rows.items() if isinstance(k, WindowKey) and isinstance(r, WindowRow)}


async def test_what_is_published_is_what_the_core_has() -> None:
    ledger = Partition()
    world = World(busy(ledger))

    await world.live(world.log.decided)

    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)
    assert world.journaled() == list(range(len(ledger.log)))
    assert world.acked == [one.offset for one in world.log.decided[:-1]]
    assert world.log.reads == []


async def test_decisions_that_arrive_again_change_nothing() -> None:
    ledger = Partition()
    world = World(busy(ledger))

    await world.live(world.log.decided)
    await world.live(world.log.decided)
    await world.live(world.log.decided[100:])

    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)


async def test_decisions_that_never_arrived_are_read_from_the_log() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    decided = world.log.decided

    await world.live(decided[:50])
    await world.live(decided[120:200])
    await world.live(decided[-1:])

    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)
    assert world.journaled() == list(range(len(ledger.log)))


async def test_decisions_that_never_arrive_at_the_end_of_the_log_are_read_from_it() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    end = world.log.decided[-1].offset + 2
    recorder = world.recorder()
    await recorder.start()
    for one in world.log.decided[:4]:
        await recorder.put(Arrived(one, lambda: None, lambda: True))
    await eventually(lambda: recorder.idle, "the recorder to be idle", every_s=0)
    assert 0 < recorder.reached(0) < end

    await recorder.put(Behind(0, end, lambda: False))
    await recorder.put(Behind(0, end, lambda: True))
    await eventually(lambda: recorder.reached(0) == end, "the end to be reached", every_s=0)
    await recorder.stop()

    assert world.log.reads == [(world.log.decided[3].offset + 1, end)], "and only by the owner"
    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)
    assert world.journaled() == list(range(len(ledger.log)))


async def test_a_gap_within_a_batch_is_filled_in_order() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    decided = world.log.decided

    await world.live([*decided[:20], *decided[90:95]])

    assert world.journaled() == list(range(world.journaled()[-1] + 1))


async def test_a_lost_table_is_rebuilt_from_the_log() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    await world.live(world.log.decided)
    world.hours.clear()

    ledger.ask(reserve("new", 1))
    world.log.decided.append(Decided(0, world.log.decided[-1].offset + 2, ledger.decisions[-1]))
    await world.live(world.log.decided[-1:])

    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)


async def test_tables_that_are_behind_the_journal_catch_up_without_counting_twice() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    await world.live(world.log.decided[:80])
    hours = {key: dict(row) for key, row in world.hours.items()}
    await world.live(world.log.decided[80:160])
    world.hours = hours  # the changelog of one table did not get through before the process died

    await world.live(world.log.decided[160:])

    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)


async def test_nothing_is_acknowledged_while_the_journal_is_away_and_nothing_is_lost() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    world.journal.outages = 3

    await world.live(world.log.decided)

    assert world.journal.outages == 0
    assert world.journaled() == list(range(len(ledger.log)))


async def test_partitions_that_move_do_not_wait_for_a_database_that_is_away() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    world.journal.outages = 10**9
    recorder = world.recorder()
    await recorder.start()
    for one in world.log.decided[:50]:
        await recorder.put(Arrived(one, lambda: world.acked.append(0), lambda: True))
    while world.journal.outages > 10**9 - 3:  # noqa: ASYNC110  # a counter has no event
        await asyncio.sleep(0)

    async with asyncio.timeout(2):
        await recorder.forget()
    await recorder.stop()

    assert world.acked == []
    assert world.journal.order == []
    world.journal.outages = 0
    await world.live(world.log.decided)
    assert {k: r for k, r in world.spent().items() if r != WindowRow()} == truth(ledger)


async def test_what_came_before_partitions_moved_is_left_to_their_new_owner() -> None:
    ledger = Partition()
    world = World(busy(ledger))
    recorder = world.recorder()
    finished = asyncio.Event()
    await recorder.start()
    await recorder.put(Arrived(world.log.decided[1], lambda: world.acked.append(0), lambda: False))
    await recorder.put(Arrived(world.log.decided[0], finished.set, lambda: True))
    async with asyncio.timeout(5):
        await finished.wait()
    await recorder.stop()

    assert world.acked == []
    assert world.journal.order == []


async def test_a_changed_cap_shows_in_the_windows_that_it_limits_now() -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 10), reserve("2", 10, account="elsewhere"))
    yesterday = len(ledger.decisions)
    ledger.now += DAY
    ledger.ask(reserve("3", 10), set_cap("hour", 77), set_cap("hour", 88, account="a"))
    decided = [Decided(0, offset, decision) for offset, decision in enumerate(ledger.decisions)]
    world = World(decided)

    await world.live(decided[:yesterday])
    await world.live(decided[yesterday:])

    caps = {
        (account, start): row.cap_micro_usd
        for (account, scope, window, start), row in world.publisher.rows.items()
        if (scope, window) == ("transcribe", "hour")
    }
    assert caps[("a", NOON)] is None, "a window that is over is left as it was"
    assert caps[("a", NOON + DAY)] == 88
    assert caps[("default", NOON + DAY)] == 77
    assert ("elsewhere", NOON + DAY) not in caps
