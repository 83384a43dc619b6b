"""Taking a broker away for a while: it is killed whenever it comes up, or stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Literal

import psutil

How = Literal["killed", "stopped"]


def brokers() -> list[psutil.Process]:
    """The brokers that this process has started, itself or by a stack."""
    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if "kafka.Kafka" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue  # it ended while it was looked at
    return found


async def take_away(how: How, seconds: float) -> None:
    """Nobody answers for Kafka so long; then it may come back, by its supervisor or by itself."""
    until = time.monotonic() + seconds
    if how == "killed":
        while time.monotonic() < until:
            for broker in brokers():
                broker.kill()
            await asyncio.sleep(0.05)
        return
    (broker,) = brokers()
    broker.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(until - time.monotonic())
    finally:
        broker.send_signal(signal.SIGCONT)
