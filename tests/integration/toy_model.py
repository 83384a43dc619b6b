"""A model for child processes that does as it is told: sleeps, fails, eats memory, or says what it sees."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from millrace.errors import ConfigurationError, Poison, Retryable
from millrace.models.child.process import Recipe
from millrace.models.child.program import Answer, Tell, Work

_kept: list[bytes] = []


class Order(BaseModel):
    do: Literal["look", "tell", "sleep", "die", "eat", "hoard", "print", "retryable", "poison", "bug"] = "look"
    mark: str = ""
    """A file that is written once the work has begun."""


class Seen(BaseModel):
    pid: int
    environment: dict[str, str]
    oom_score: int
    loads: int
    size: int


class Step(BaseModel):
    number: int


def recipe(**settings: JsonValue) -> Recipe:
    return Recipe("toy", "tests.integration.toy_model:load", settings)


def load(settings: Mapping[str, JsonValue]) -> Work:
    if settings.get("broken"):
        raise ConfigurationError("the toy cannot be loaded")
    if settings.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    loads = 0

    def work(question: bytes, body: bytes, tell: Tell) -> Answer:
        nonlocal loads
        loads += 1
        order = Order.model_validate_json(question)
        if order.mark:
            Path(order.mark).write_text(str(os.getpid()))
        _obey(order, tell)
        seen = Seen(
            pid=os.getpid(),
            environment=dict(os.environ),
            oom_score=int(Path("/proc/self/oom_score_adj").read_text()),
            loads=loads,
            size=len(body),
        )
        return seen, body[::-1]

    return work


def _obey(order: Order, tell: Tell) -> None:
    match order.do:
        case "tell":
            for number in range(3):
                tell(Step(number=number))
        case "sleep":
            time.sleep(600)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "eat":
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            assert most != resource.RLIM_INFINITY, "this would eat the machine"
            eaten = [bytearray(16 << 20) for _ in range(10_000)]
            raise AssertionError(f"nobody has stopped it after {len(eaten)} bites")
        case "hoard":
            _kept.append([bytes(64 << 10) for _ in range(2_000)][-1])  # the last one lies above all that is free now
        case "print":
            print("libraries print what they like" * 1000)
        case "retryable":
            raise Retryable("the device went away")
        case "poison":
            raise Poison("this is no sound")
        case "bug":
            raise KeyError("/secret/path")
        case "look":
            pass
