"""Search judged: `python -m benchmarks.judge [--json]`.

The documents and queries of `benchmarks/judged`, one passage a document, in a real PostgreSQL; the gateway's own
search answers by words, by meaning and by both. nDCG@10 and recall@10, over all queries and by their kind. Then the
same with five documents of a topic in each share, and searches in two phases, which look into some of these shares,
by the vector that the embed agent makes for the whole: with several weights of its summary. Last line JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.relevance import Document, Judged, ndcg, recall
from benchmarks.relevance import load as load_judged
from benchmarks.search import OWNER, a_database
from millrace.contracts.search_api import SearchMode
from millrace.ids import WorkKey
from millrace.models.wordllama import WordLlamaModel
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.testing.ledger import FakeLedger
from services.api_gateway.passages import SEARCH_SETTINGS, Passages
from services.api_gateway.search import Search
from services.embed_agent.adapters.pgvector import PgVectorStore, compose
from services.embed_agent.batches import packed
from services.embed_agent.domain import SUMMARY_WEIGHT, Chunk
from services.embed_agent.overview import beginning, overview
from tests.support.stack import own_stack

MODES: Final[tuple[SearchMode, ...]] = ("keyword", "semantic", "hybrid")
TOGETHER: Final = 5
WEIGHTS: Final = (0.0, SUMMARY_WEIGHT, 0.3, 0.5, 1.0)
SHARES_FIRST: Final = (5, 10, 20)
Figures = dict[str, dict[str, float]]


async def keep(
    pool: asyncpg.Pool[asyncpg.Record], judged: Judged, model: WordLlamaModel, together: int
) -> dict[int, str]:
    """Documents as the agents would leave them: shares of so many, each a passage with a vector.

    :return: the documents by the moment of their passage, which a hit tells.
    """
    documents = list(enumerate(judged.documents))
    if together > 1:
        documents.sort(key=lambda one: (one[1].topic, one[1].id))
    for at in range(0, len(documents), together):
        await _keep_share(pool, documents[at : at + together], model)
    await pool.execute("ANALYZE")
    return {number: document.id for number, document in documents}


async def _keep_share(
    pool: asyncpg.Pool[asyncpg.Record], documents: Sequence[tuple[int, Document]], model: WordLlamaModel
) -> None:
    (_, first), work_key = documents[0], WorkKey(f"embed:{documents[0][1].id}")
    await pool.execute(
        """
        WITH share AS (
          INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, title, created_at)
          VALUES ($1, 'default', $2, 'text', 'text', 'text/plain', $3, now())
        ), work AS (
          INSERT INTO work (work_key, stage) VALUES ($4, 'embed')
        )
        INSERT INTO jobs (share_id, stage, account, work_key, state, model)
        VALUES ($1, 'embed', 'default', $4, 'done', $5)
        """,
        first.id,
        OWNER,
        first.title,
        work_key,
        model.name,
    )
    passages = {number: f"{document.title}\n\n{document.text}" for number, document in documents}
    text = "\n\n".join(passages.values()).removeprefix(first.title)
    chunks = [Chunk(passage, 100, number, number) for number, passage in passages.items()]
    chunks.append(Chunk(overview([first.title], beginning(text)), 100, embedding_type="summary"))
    embedded = model.embed_now([chunk.text for chunk in chunks])
    store = PgVectorStore(Database(pool))
    await store.keep(model.name, packed(embedded, [chunk.content_hash for chunk in chunks]))
    await store.replace(work_key, model.name, chunks)


async def ask(
    search: Search, judged: Judged, mode: SearchMode, documents: Mapping[int, str], *, two_phase: bool = False
) -> dict[str, list[str]]:
    """The documents that each query finds, best first."""
    found = {}
    for query in judged.queries:
        answer = await search.answer(
            query.query, owner=OWNER, account="default", limit=10, mode=mode, two_phase=two_phase
        )
        found[query.id] = [documents[hit.start_ms] for hit in answer.hits if hit.start_ms is not None]
    return found


def scored(judged: Judged, found: Mapping[str, list[str]]) -> Figures:
    """Means over all queries, and by kind."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for query in judged.queries:
        score = ndcg(found[query.id], query.relevant), recall(found[query.id], query.relevant)
        for kind in ("all", query.kind):
            kinds.setdefault(kind, []).append(score)
    return {
        kind: {
            "queries": len(scores),
            "ndcg_at_10": round(statistics.fmean(one for one, _ in scores), 3),
            "recall_at_10": round(statistics.fmean(one for _, one in scores), 3),
        }
        for kind, scores in kinds.items()
    }


async def plain(dsn: str, judged: Judged, model: WordLlamaModel) -> dict[str, Figures]:
    """All modes, a share for each document."""
    async with a_database(dsn) as own, open_pool(own, settings=SEARCH_SETTINGS) as pool:
        documents = await keep(pool, judged, model, 1)
        search = Search(Passages(pool), model, FakeLedger())
        return {mode: scored(judged, await ask(search, judged, mode, documents)) for mode in MODES}


async def two_phases(dsn: str, judged: Judged, model: WordLlamaModel) -> Figures:
    """Over all queries, with documents together in shares: one phase, then two with each weight and each number."""
    async with a_database(dsn) as own, open_pool(own, settings=SEARCH_SETTINGS) as pool:
        documents = await keep(pool, judged, model, TOGETHER)
        search = Search(Passages(pool), model, FakeLedger())
        figures = {"one phase": scored(judged, await ask(search, judged, "hybrid", documents))["all"]}
        keys = [row["work_key"] for row in await pool.fetch("SELECT work_key FROM work")]
        for weight in WEIGHTS:
            async with pool.acquire() as connection:
                for key in keys:
                    await compose(connection, key, weight)
            for shares in SHARES_FIRST:
                search = Search(Passages(pool), model, FakeLedger(), shares_first=shares)
                found = await ask(search, judged, "hybrid", documents, two_phase=True)
                figures[f"weight {weight}, {shares} of {len(keys)} shares"] = scored(judged, found)["all"]
        return figures


async def run(dsn: str) -> tuple[dict[str, Figures], Figures]:
    """Each mode, and both phases."""
    judged, model = load_judged(), await asyncio.to_thread(WordLlamaModel)
    return await plain(dsn, judged, model), await two_phases(dsn, judged, model)


def table(modes: Mapping[str, Figures], phases: Figures) -> str:
    """Figures for people: nDCG@10 / recall@10."""

    def pair(figures: Mapping[str, float]) -> str:
        return f"{figures['ndcg_at_10']:.3f} / {figures['recall_at_10']:.3f}"

    rows = [
        f"{kind:12} " + "  ".join(f"{mode} {pair(one[kind])}" for mode, one in modes.items())
        for kind in modes["hybrid"]
    ]
    rows += [f"{name:32} {pair(figures)}" for name, figures in phases.items()]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    as_json = parser.parse_args().json
    dsn = os.environ.get("MILLRACE_TEST_POSTGRES")
    if dsn:
        modes, phases = asyncio.run(run(dsn))
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, own_stack(Path(folder)) as addresses:
            modes, phases = asyncio.run(run(addresses.postgres))
    if not as_json:
        sys.stdout.write(table(modes, phases))
    sys.stdout.write(json.dumps({**modes, "two_phases": phases}) + "\n")


if __name__ == "__main__":
    main()
