"""Local models in child processes, for real: what kills them, what it costs others, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from millrace.errors import ConfigurationError, Poison, Retryable
from millrace.models.child.pool import Care, ChildPool, open_children
from tests.integration.toy_model import Order, Seen, Step, recipe
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(60)


async def begun(mark: Path) -> int:
    """Process id of the child that has written its mark."""
    await eventually(lambda: mark.exists() and mark.read_text() != "", "a child to begin")
    return int(text(mark))


def text(path: Path | str) -> str:
    return Path(path).read_text()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@asynccontextmanager
async def working(pool: ChildPool, order: Order, mark: Path) -> AsyncIterator[tuple[asyncio.Task[Seen], int]]:
    """A question that a child has begun to work on, and the child's process id."""
    task = asyncio.create_task(look(pool, order.model_copy(update={"mark": str(mark)})))
    try:
        yield task, await begun(mark)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def look(pool: ChildPool, order: Order | None = None) -> Seen:
    seen, _ = await pool.ask(order or Order(), Seen)
    return seen


async def test_a_question_is_answered_with_what_is_told_meanwhile_and_bytes_both_ways() -> None:
    told: list[int] = []

    async def hear(document: bytes) -> None:
        told.append(Step.model_validate_json(document).number)

    sound = os.urandom(5 << 20)
    async with open_children(recipe(), Care()) as pool:
        seen, more = await pool.ask(Order(do="tell"), Seen, body=sound, told=hear)
    assert (told, seen.size, more) == ([0, 1, 2], len(sound), sound[::-1])
    assert seen.pid != os.getpid()


async def test_what_libraries_print_does_not_spoil_answers() -> None:
    async with open_children(recipe(), Care()) as pool:
        await look(pool, Order(do="print"))
        assert (await look(pool)).loads == 2


async def test_a_child_knows_no_secret_and_goes_before_the_agent_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canaries = {
        "OPENAI_API_KEY": "canary",
        "MILLRACE_POSTGRES": "postgresql://u:canary@h/d",
        "HF_TOKEN": "canary",
        "HTTPS_PROXY": "http://u:canary@proxy:1",
    }
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "localhost")
    async with open_children(recipe(), Care()) as pool:
        seen = await look(pool)
        (pid,) = pool.pids
        at_start = text(f"/proc/{pid}/environ")
        command = text(f"/proc/{pid}/cmdline")
    assert "canary" not in str(seen.environment) + at_start + command
    assert seen.environment["NO_PROXY"] == "localhost"
    assert seen.oom_score > int(text("/proc/self/oom_score_adj"))


async def test_a_child_that_is_killed_fails_its_own_job_only_and_is_replaced(tmp_path: Path) -> None:
    async with open_children(recipe(), Care(children=2)) as pool:
        async with (
            working(pool, Order(do="sleep"), tmp_path / "one") as (unlucky, pid),
            working(pool, Order(do="sleep"), tmp_path / "two") as (other, other_pid),
        ):
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Retryable, match=r"model toy was killed \(signal 9\)"):
                await unlucky
            assert time.monotonic() - began < 5, "noticed at once"
            assert not other.done()
            assert psutil.pid_exists(other_pid)
            assert (await look(pool)).pid not in (pid, other_pid)
        assert not psutil.pid_exists(pid)


async def test_a_child_that_dies_while_nobody_asks_is_replaced_unseen() -> None:
    async with open_children(recipe(), Care()) as pool:
        (child,), (pid,) = pool._all, pool.pids
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not child.alive, "its end to be noticed")  # the kernel knows a little earlier
        assert (await look(pool)).pid != pid


async def test_a_child_is_killed_at_the_limit_of_its_job_and_the_next_one_works(tmp_path: Path) -> None:
    async with open_children(recipe(), Care()) as pool:
        async with working(pool, Order(do="sleep"), tmp_path / "mark") as (_, pid):
            waiting = asyncio.create_task(look(pool))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await look(pool)  # waits for the only child: nothing is killed for it
            assert psutil.pid_exists(pid)
        assert not psutil.pid_exists(pid), "cancelled, and its child with it"
        assert (await waiting).pid != pid


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways with free memory")
async def test_a_child_that_has_nothing_to_do_gives_back_the_memory_it_took() -> None:
    async with open_children(recipe(), Care()) as pool:
        (child,) = map(psutil.Process, pool.pids)
        before = child.memory_info().rss
        await look(pool, Order(do="hoard"))
        await eventually(lambda: child.memory_info().rss < before + 32 * 2**20, "128 MiB to be free again")


async def test_a_child_beyond_its_memory_fails_its_job_and_nothing_else() -> None:
    async with open_children(recipe(), Care(memory_mb=400)) as pool:
        first = await look(pool)
        with pytest.raises(Retryable, match="MILLRACE_CHILD_MEMORY_MB"):
            await look(pool, Order(do="eat"))
        again = await look(pool)
        assert again.pid != first.pid
        with pytest.raises(Retryable, match="MILLRACE_CHILD_MEMORY_MB"):
            await pool.ask(Order(), Seen, body=bytes(500 << 20))
        assert (await look(pool)).loads == 1


async def test_a_child_is_replaced_after_so_many_jobs() -> None:
    async with open_children(recipe(), Care(jobs=3)) as pool:
        seen = [await look(pool) for _ in range(7)]
        assert [one.loads for one in seen] == [1, 2, 3, 1, 2, 3, 1]
        assert len({one.pid for one in seen}) == 3
        assert len(pool.pids) == 1


async def test_there_are_as_many_children_as_were_asked_for_and_no_more(tmp_path: Path) -> None:
    async with open_children(recipe(), Care(children=2)) as pool:
        assert len(pool.pids) == 1, "the second comes when it is needed"
        async with (
            working(pool, Order(do="sleep"), tmp_path / "1"),
            working(pool, Order(do="sleep"), tmp_path / "2"),
        ):
            third = asyncio.create_task(look(pool))
            await asyncio.sleep(0)
            assert len(pool.pids) == 2
            third.cancel()
            await asyncio.wait([third])


@pytest.mark.parametrize(
    ("order", "error", "says", "same_child"),
    [
        ("poison", Poison, "no sound", True),
        ("retryable", Retryable, "device went away", False),
        ("bug", Retryable, "an unexpected KeyError in the model toy", False),
    ],
)
async def test_an_error_in_the_child_is_that_error_here(
    order: str, error: type[Exception], says: str, same_child: bool
) -> None:
    async with open_children(recipe(), Care()) as pool:
        (pid,) = pool.pids
        with pytest.raises(error, match=says) as raised:
            await look(pool, Order.model_validate({"do": order}))
        assert "/secret/path" not in str(raised.value)
        assert ((await look(pool)).pid == pid) is same_child


@pytest.mark.parametrize("settings", [{"broken": True}, {"dies": True}], ids=["says so", "dies"])
async def test_a_model_that_cannot_be_loaded_ends_the_start_with_one_sentence(settings: dict[str, bool]) -> None:
    with pytest.raises(ConfigurationError, match="toy"):
        async with open_children(recipe(**settings), Care()):
            pytest.fail("it was opened")


async def test_nothing_is_left_when_the_pool_is_closed(tmp_path: Path) -> None:
    async with (
        open_children(recipe(), Care(children=2)) as pool,
        working(pool, Order(do="sleep"), tmp_path / "mark"),
    ):
        await look(pool)
        pids = pool.pids
        assert len(pids) == 2
        await pool.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


AGENT = """
import asyncio, sys
from pathlib import Path
from millrace.models.child.pool import Care, open_children
from tests.integration.toy_model import Order, Seen, recipe

async def main():
    async with open_children(recipe(), Care()) as pool:
        await pool.ask(Order(do="sleep", mark=sys.argv[1]), Seen)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_an_agent_that_is_killed_leaves_no_child(tmp_path: Path, number: signal.Signals) -> None:
    mark = tmp_path / "mark"
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, str(mark))
    try:
        pid = await begun(mark)
        assert psutil.pid_exists(pid)
        agent.send_signal(number)
        await eventually(lambda: gone(pid), "its child to be gone")
    finally:
        if agent.returncode is None:
            agent.kill()
        await agent.wait()
