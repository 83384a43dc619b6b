"""The chain in stock Faust, as its documentation writes it: `python -m benchmarks.peers.faust_app worker`.

Four agents; each sends on what it has read. No ledger, no dedupe, no leases. Faust's own settings.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import faust

from benchmarks.peers.chain import PARTITIONS, TOPICS

BROKER, DATA = "BENCH_KAFKA", "BENCH_DATA"
"""Environment: the broker's address, and the folder that Faust makes for itself."""

app: Any = faust.App(
    "bench",
    broker=f"aiokafka://{os.environ[BROKER]}",
    value_serializer="json",
    topic_partitions=PARTITIONS,
    consumer_auto_offset_reset="earliest",
    datadir=os.environ[DATA],
)


def _stage(source: str, target: str) -> None:
    sink = app.topic(target, key_type=str)

    async def stage(stream: Any) -> None:  # noqa: ANN401 - Faust has no types
        async for share, value in stream.items():
            await sink.send(key=share, value={"share_id": value["share_id"], "stage": target})

    app.agent(app.topic(source, key_type=str), name=target)(stage)


for before, after in pairwise(TOPICS):
    _stage(before, after)

if __name__ == "__main__":
    app.main()
