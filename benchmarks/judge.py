"""Search judged: `python -m benchmarks.judge [--json]`.

The documents and queries of `benchmarks/judged`, one passage a document, in a real PostgreSQL; the gateway's own
search answers by words, by meaning and by both. nDCG@10 and recall@10, over all queries and by their kind; last line
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.relevance import Judged, ndcg, recall
from benchmarks.relevance import load as load_judged
from benchmarks.search import OWNER, a_database
from millrace.contracts.search_api import SearchMode
from millrace.models.wordllama import WordLlamaModel
from millrace.store.pool import open_pool
from millrace.testing.ledger import FakeLedger
from services.api_gateway.passages import SEARCH_SETTINGS, Passages
from services.api_gateway.search import Search
from tests.support.stack import own_stack

MODES: Final[tuple[SearchMode, ...]] = ("keyword", "semantic", "hybrid")
Figures = dict[str, dict[str, float]]


async def keep(pool: asyncpg.Pool[asyncpg.Record], judged: Judged, model: WordLlamaModel) -> None:
    """Documents as the agents would leave them: a share, its work, a passage, a vector."""
    texts = [f"{document.title}\n\n{document.text}" for document in judged.documents]
    vectors = model.embed_now(texts).vectors
    for document, text, vector in zip(judged.documents, texts, vectors, strict=True):
        await pool.execute(
            """
            WITH share AS (
              INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, title, created_at)
              VALUES ($1, 'default', $2, 'text', 'text', 'text/plain', $3, now())
            ), work AS (
              INSERT INTO work (work_key, stage) VALUES ('embed:' || $1, 'embed') RETURNING work_key
            ), job AS (
              INSERT INTO jobs (share_id, stage, account, work_key, state, model)
              SELECT $1, 'embed', 'default', work_key, 'done', $4 FROM work
            ), vector AS (
              INSERT INTO embeddings (model, content_hash, dimensions, embedding)
              VALUES ($4, md5($5), $6, $7::text::halfvec) RETURNING content_hash
            )
            INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, tokens)
            SELECT work_key, 0, 'content', $4, content_hash, $5, 100 FROM work, vector
            """,
            document.id,
            OWNER,
            document.title,
            model.name,
            text,
            len(vector),
            json.dumps(vector),
        )
    await pool.execute("ANALYZE")


async def ask(search: Search, judged: Judged, mode: SearchMode) -> dict[str, list[str]]:
    """The documents that each query finds, best first."""
    found = {}
    for query in judged.queries:
        answer = await search.answer(query.query, owner=OWNER, account="default", limit=10, mode=mode)
        found[query.id] = [hit.share_id for hit in answer.hits]
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


async def run(dsn: str) -> dict[str, Figures]:
    """All modes."""
    judged, model = load_judged(), await asyncio.to_thread(WordLlamaModel)
    async with a_database(dsn) as own, open_pool(own, settings=SEARCH_SETTINGS) as pool:
        await keep(pool, judged, model)
        search = Search(Passages(pool), model, FakeLedger())
        return {mode: scored(judged, await ask(search, judged, mode)) for mode in MODES}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    as_json = parser.parse_args().json
    dsn = os.environ.get("MILLRACE_TEST_POSTGRES")
    if dsn:
        figures = asyncio.run(run(dsn))
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, own_stack(Path(folder)) as addresses:
            figures = asyncio.run(run(addresses.postgres))
    if not as_json:
        for kind in figures["hybrid"]:
            row = "  ".join(
                f"{mode} {one[kind]['ndcg_at_10']:.3f} / {one[kind]['recall_at_10']:.3f}"
                for mode, one in figures.items()
            )
            sys.stdout.write(f"{kind:12} {row}\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
