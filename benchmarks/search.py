"""Search at size: `python -m benchmarks.search [--json] [--sizes 10000 100000]`.

Passages are `benchmarks.corpus`'s, in a real PostgreSQL, in the tables and with the index that the embed agent makes.
Queries go through the gateway's own search, one at a time: the query's embedding by the bundled model, the grant (a
model that costs nothing does not wait for it: a ledger in memory gives it here), passages by meaning and by words,
fusion. What is found by meaning is compared with all vectors compared one by one. The filter leaves one share of a
hundred. Beside it the same passages with vectors of 1,536 dimensions, searched by meaning.

The last line is JSON: `recall_at_10` (the worse of those with and without filter) and `p95_ms` (hybrid) of the
largest size, then all figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import numpy as np

from benchmarks.corpus import PER_SHARE, Corpus, Vectors, fragments, large, small
from millrace.contracts.search_api import SearchMode
from millrace.models.wordllama import WordLlamaModel
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.vectors import ensure_index, index_name
from millrace.testing.ledger import FakeLedger
from services.api_gateway.answers import MOST_KEPT, Answers
from services.api_gateway.filters import EVERYTHING, Filters
from services.api_gateway.passages import SEARCH_SETTINGS, Passage, Passages
from services.api_gateway.search import Search
from tests.support.database import own_database
from tests.support.stack import own_stack

OWNER: Final = "local"
ONE_PERCENT: Final = Filters(kind="upload")
QUERIES: Final = 200
LARGE: Final = 1536
_FIRST_SHARED: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SAME = 5e-4  # cosines that differ by less are equal: vectors are kept as half floats

Figures = dict[str, object]


@dataclass(frozen=True)
class Timed:
    """Milliseconds of each query, and the share of the ten nearest that each has found."""

    ms: list[float]
    recall: list[float]

    def figures(self) -> Figures:
        """Medians, tails, means."""
        recall = {"recall_at_10": round(float(np.mean(self.recall)), 4)} if self.recall else {}
        return {"p50_ms": _percentile(self.ms, 50), "p95_ms": _percentile(self.ms, 95), **recall}


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 1)


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@asynccontextmanager
async def a_database(dsn: str) -> AsyncIterator[str]:
    """A database of its own with the project's tables."""
    async with own_database(dsn) as own:
        await asyncio.to_thread(migrate, own)
        yield own


async def load(pool: asyncpg.Pool[asyncpg.Record], corpus: Corpus) -> Figures:
    """Rows as the agents and the gateway write them, then the index; seconds, and bytes a passage."""
    began = time.perf_counter()
    async with pool.acquire() as connection:
        await _copy(connection, corpus)
        copied = time.perf_counter()
        await connection.execute("SET maintenance_work_mem = '512MB'")
        dimensions = corpus.vectors.shape[1]
        await ensure_index(connection, corpus.model, dimensions)
        built = time.perf_counter()
        for table in ("shares", "jobs", "work", "chunks", "embeddings", "work_vectors", "share_embeddings"):
            await connection.execute(f"VACUUM ANALYZE {table}")
        sizes = await connection.fetchrow(
            "SELECT pg_relation_size($1::text::regclass) AS index, "
            "pg_total_relation_size('embeddings') AS embeddings, pg_total_relation_size('chunks') AS chunks",
            index_name(corpus.model, dimensions),
        )
    size = len(corpus.texts)
    bytes_each = {name: round(number / size) for name, number in dict(sizes or {}).items()}
    return {
        "load_s": round(copied - began, 1),
        "index_build_s": round(built - copied, 1),
        "bytes_per_chunk": bytes_each["embeddings"] + bytes_each["chunks"],
        "bytes_per_chunk_of": {
            "index": bytes_each["index"],
            "vectors": bytes_each["embeddings"] - bytes_each["index"],
            "texts and words": bytes_each["chunks"],
        },
    }


async def _copy(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], corpus: Corpus) -> None:
    shares = range(len(corpus.texts) // PER_SHARE)

    async def copy(table: str, **columns: Callable[[int], object]) -> None:
        rows = [tuple(make(number) for make in columns.values()) for number in shares]
        await connection.copy_records_to_table(table, columns=list(columns), records=rows)

    await copy(
        "shares",
        share_id=_share,
        account=lambda _: "default",
        owner=lambda _: OWNER,
        source_kind=lambda number: "upload" if number % 100 == 0 else "text",
        platform=lambda _: "text",
        content_type=lambda _: "text/plain",
        created_at=lambda number: _FIRST_SHARED + timedelta(minutes=number),
    )
    await copy("work", work_key=_work, stage=lambda _: "embed")
    await copy(
        "jobs",
        share_id=_share,
        stage=lambda _: "embed",
        account=lambda _: "default",
        work_key=_work,
        state=lambda _: "done",
        model=lambda _: corpus.model,
    )
    await connection.execute("CREATE TEMP TABLE loaded (number int, text text, vector text)")
    rows = [
        (number, text, "[" + ",".join(f"{x:.5g}" for x in vector) + "]")
        for number, (text, vector) in enumerate(zip(corpus.texts, corpus.vectors, strict=True))
    ]
    await connection.copy_records_to_table("loaded", records=rows, timeout=600)
    await connection.execute(
        "INSERT INTO embeddings (model, content_hash, dimensions, embedding) "
        "SELECT $1, encode(sha256(convert_to(text, 'UTF8')), 'hex'), $2, vector::halfvec FROM loaded",
        corpus.model,
        corpus.vectors.shape[1],
        timeout=600,
    )
    await connection.execute(
        "INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, tokens) "
        "SELECT 'embed:' || lpad((number / $2)::text, 40, '0'), number % $2, 'content', $1, "
        "encode(sha256(convert_to(text, 'UTF8')), 'hex'), text, 50 FROM loaded",
        corpus.model,
        PER_SHARE,
        timeout=600,
    )
    await connection.execute(
        "INSERT INTO work_vectors (work_key, embedding_type, model, dimensions, embedding) "
        "SELECT work_key, 'composite', model, dimensions, l2_normalize(avg(embedding)) "
        "FROM chunks JOIN embeddings USING (model, content_hash) GROUP BY work_key, model, dimensions",
        timeout=600,
    )
    await connection.execute("DROP TABLE loaded")


def _share(number: int) -> str:
    return f"share-{number:08d}"


def _work(number: int) -> str:
    return f"embed:{number:040d}"


async def measured(queries: Sequence[int], ask: Callable[[int], Awaitable[list[float]]], tenth: list[float]) -> Timed:
    """Each query once, after ten that warm up.

    :param ask: answers with the cosines of what it has found; nothing where that is no question.
    :param tenth: the cosine of each query's tenth neighbour.
    """
    for number in queries[:10]:
        await ask(number)
    ms, recall = [], []
    for number in queries:
        began = time.perf_counter()
        cosines = await ask(number)
        ms.append((time.perf_counter() - began) * 1000)
        if tenth:
            recall.append(sum(cosine >= tenth[number] - _SAME for cosine in cosines[:10]) / 10)
    return Timed(ms, recall)


def tenths(queries: Vectors, corpus: Vectors) -> list[float]:
    """The cosine of the tenth nearest, by comparing all."""
    return [float(np.partition(corpus @ query, -10)[-10]) for query in queries]


async def by_meaning(pool: asyncpg.Pool[asyncpg.Record], corpus: Corpus, queries: Vectors) -> dict[str, Figures]:
    """Neighbours of vectors, without a filter and with one that leaves a hundredth."""
    passages, figures = Passages(pool), {}
    visible = np.arange(len(corpus.texts)) // PER_SHARE % 100 == 0
    for name, filters, rows in (
        ("semantic", EVERYTHING, corpus.vectors),
        ("semantic_1_percent", ONE_PERCENT, corpus.vectors[visible]),
    ):

        async def ask(number: int, filters: Filters = filters) -> list[float]:
            vector = [float(x) for x in queries[number]]
            found: list[Passage] = await passages.by_meaning(OWNER, corpus.model, vector, 50, filters)
            return [one.rank for one in found]

        timed = await measured(range(len(queries)), ask, tenths(queries, rows))
        figures[name] = timed.figures()
    return figures


async def whole(pool: asyncpg.Pool[asyncpg.Record], model: WordLlamaModel, texts: list[str]) -> dict[str, Figures]:
    """Queries in words, answered as the gateway answers them."""
    queries, figures = fragments(texts, QUERIES), {}
    ways: tuple[tuple[str, SearchMode, Filters, bool], ...] = (
        ("hybrid", "hybrid", EVERYTHING, False),
        ("hybrid_1_percent", "hybrid", ONE_PERCENT, False),
        ("hybrid_two_phases", "hybrid", EVERYTHING, True),
        ("keyword", "keyword", EVERYTHING, False),
    )
    for name, mode, filters, two_phase in ways:
        # None is kept: each query is asked anew.
        search = Search(Passages(pool), model, FakeLedger(), answers=Answers(most=0))

        async def ask(
            number: int,
            mode: SearchMode = mode,
            filters: Filters = filters,
            search: Search = search,
            *,
            two_phase: bool = two_phase,
        ) -> list[float]:
            answer = await search.answer(
                queries[number],
                owner=OWNER,
                account="default",
                limit=10,
                mode=mode,
                filters=filters,
                two_phase=two_phase,
            )
            assert answer.hits or mode == "keyword", f"nothing was found for {queries[number]!r}"
            return []

        # With so strong a filter a passage may not be among what is left.
        timed = await measured(range(len(queries)), ask, [])
        figures[name] = timed.figures()
    figures["again"] = await again(Search(Passages(pool), model, FakeLedger()), queries)
    return figures


async def again(search: Search, queries: Sequence[str]) -> Figures:
    """Queries whose answers are kept, and have to be found to hold still."""

    async def ask(number: int) -> list[float]:
        await search.answer(queries[number], owner=OWNER, account="default", limit=10, mode="hybrid")
        return []

    numbers = range(min(len(queries), MOST_KEPT))
    for number in numbers:
        await ask(number)
    return (await measured(numbers, ask, [])).figures()


async def at(dsn: str, corpus: Corpus, model: WordLlamaModel | None) -> Figures:
    """All figures of one corpus; `model` is the one that made its vectors, None when nobody can ask it."""
    chance = np.random.default_rng(3)
    async with a_database(dsn) as own, open_pool(own) as pool, open_pool(own, settings=SEARCH_SETTINGS) as searching:
        say(f"  loading {len(corpus.texts):,} passages of {corpus.vectors.shape[1]} dimensions")
        figures = await load(pool, corpus)
        if model is None:  # neighbours of passages that were disturbed a little
            chosen = corpus.vectors[chance.choice(len(corpus.texts), QUERIES, replace=False)]
            noise = chance.standard_normal(chosen.shape, dtype=np.float32) / np.sqrt(chosen.shape[1])
            queries = chosen + noise / 2
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        else:
            asked = model.embed_now(fragments(corpus.texts, QUERIES)).vectors
            queries = np.asarray(asked, dtype=np.float32)
        figures |= await by_meaning(searching, corpus, queries)
        if model is not None:
            figures |= await whole(searching, model, corpus.texts)
    for name, value in figures.items():
        say(f"  {name}: {value}")
    return figures


async def run(dsn: str, sizes: Sequence[int]) -> Figures:
    """All sizes with the bundled model, the largest with long vectors too."""
    model = await asyncio.to_thread(WordLlamaModel)
    figures: dict[str, Figures] = {}
    for size in sorted(sizes):
        say(f"{size:,} passages, load {os.getloadavg()[0]:.1f}")
        corpus = await asyncio.to_thread(small, size, model)
        figures[str(size)] = await at(dsn, corpus, model)
    say(f"{max(sizes):,} passages of {LARGE} dimensions")
    long = await at(dsn, await asyncio.to_thread(large, corpus, LARGE), None)
    most = figures[str(max(sizes))]
    recalls = [most[name] for name in ("semantic", "semantic_1_percent")]
    return {
        "recall_at_10": min(one["recall_at_10"] for one in recalls if isinstance(one, dict)),
        "p95_ms": most["hybrid"]["p95_ms"] if isinstance(most["hybrid"], dict) else None,
        "passages": figures,
        f"{LARGE}_dimensions": long,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print nothing but JSON on standard output")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="numbers of passages")
    asked = parser.parse_args()
    dsn = os.environ.get("MILLRACE_TEST_POSTGRES")
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        if dsn:
            figures = asyncio.run(run(dsn, asked.sizes))
        else:
            with own_stack(Path(folder)) as addresses:
                figures = asyncio.run(run(addresses.postgres, asked.sizes))
    if not asked.json:
        say("Passages by meaning were compared with all vectors one by one; hybrid is the gateway's own search.")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
