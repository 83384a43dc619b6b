from __future__ import annotations

import asyncio

import pytest

from services.api_gateway.flight import OneFlight


async def test_a_part_that_hangs_is_asked_once_and_answers_everybody_when_it_comes_back() -> None:
    asked, back = list[int](), asyncio.Event()

    async def question() -> int:
        asked.append(1)
        await back.wait()
        return 7

    flight = OneFlight[int]()
    answers = await asyncio.gather(*(flight.ask(question, within_s=0.05) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {TimeoutError}
    late = [asyncio.create_task(flight.ask(question, within_s=5)) for _ in range(3)]
    await asyncio.sleep(0)
    back.set()
    assert await asyncio.gather(*late) == [7, 7, 7]
    assert len(asked) == 1
    assert await flight.ask(question, within_s=5) == 7
    assert len(asked) == 2, "an answer is not kept: the next one asks anew"


async def test_an_error_is_every_askers_and_the_next_one_asks_anew() -> None:
    async def broken() -> int:
        raise OSError("away")

    async def fine() -> int:
        return 1

    flight = OneFlight[int]()
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            await flight.ask(broken, within_s=5)
    assert await flight.ask(fine, within_s=5) == 1
