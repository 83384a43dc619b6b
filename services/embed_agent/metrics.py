"""Every metric of the embed agent beside the job core's."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

EMBEDDINGS = Counter("ml_embeddings_generated", "Vectors that models have made.", ["model"])
EMBEDDING_SECONDS = Histogram(
    "ml_embedding_latency_seconds",
    "Seconds until a model had embedded the texts of a call.",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BATCH_TEXTS = Histogram(
    "ml_embedding_batch_size",
    "Texts in a call, of one share or of several.",
    ["model"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
CHUNKS = Counter("ml_embedding_chunks", "Chunks that texts were cut into.", ["chunker"])
CHUNKS_PER_DOCUMENT = Histogram(
    "ml_chunks_per_document", "Chunks of a text.", ["chunker"], buckets=(1, 2, 3, 5, 8, 12, 20, 30, 50)
)
CHUNK_TOKENS = Histogram(
    "ml_chunk_size_tokens",
    "Tokens of a chunk, as its model counts them.",
    ["chunker"],
    buckets=(16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 2048, 8192),
)


def note_chunks(chunker: str, tokens: list[int]) -> None:
    """A text was cut into chunks of so many tokens."""
    CHUNKS.labels(chunker).inc(len(tokens))
    CHUNKS_PER_DOCUMENT.labels(chunker).observe(len(tokens))
    for count in tokens:
        CHUNK_TOKENS.labels(chunker).observe(count)
