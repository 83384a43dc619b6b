"""What the agents do: stages, backlog, errors, models, embeddings, fetches."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Ask, Choice, Limit, Row, bars, board, graph, quantiles, stat

STAGE: Final = '{stage=~"$stage"}'


def rate(metric: str, by: str, where: str = STAGE) -> str:
    """A counter's rate by labels."""
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


def risen(metric: str, by: str, where: str = STAGE) -> str:
    """By how much a counter has risen, by labels."""
    return f"sum by ({by}) (increase({metric}{where}[$__rate_interval]))"


def mean(metric: str, by: str, where: str = "") -> str:
    """What a histogram has seen on average, by labels."""
    return f"{rate(f'{metric}_sum', by, where)} / {rate(f'{metric}_count', by, where)}"


NOW: Final = Row(
    "Now",
    [
        stat(
            "Services",
            "Whether each makes progress, as its /readyz says.",
            "none",
            Ask("ml_service_ready", "{{service}}"),
            width=8,
            words=[(0, "not ready"), (1, "ready")],
        ),
        stat(
            "Paused",
            "Stages that take nothing new because too many jobs ended as dead letters.",
            "none",
            Ask(f"sum(ml_stage_paused{STAGE})", "stages"),
            limits=[Limit(1, "red")],
        ),
        stat("Running", "Jobs that run now.", "short", Ask(f"sum(ml_active_tasks{STAGE})", "jobs")),
        stat(
            "Dead letters of this day",
            "Messages that were given up on within 24 hours.",
            "short",
            Ask(f"sum(increase(ml_dead_letters_total{STAGE}[24h]))", "dead letters"),
            limits=[Limit(1, "orange")],
        ),
        stat(
            "Workers",
            "Workers by stage, and which work they do: all, what needs a local model, or the rest.",
            "short",
            Ask(f"sum by (stage, works_on) (ml_worker_info{STAGE})", "{{stage}} ({{works_on}})"),
        ),
        bars(
            "Backlog",
            "Records that wait for each stage.",
            "short",
            Ask(f"stage:ml_consumer_lag:sum{STAGE}", "{{stage}}"),
            width=12,
            limits=[Limit(100, "red")],
        ),
        bars(
            "Error ratio",
            "Part of the tries within ten minutes that failed.",
            "percentunit",
            Ask(f"stage:ml_task_errors:ratio10m{STAGE}", "{{stage}}"),
            width=12,
            limits=[Limit(0.05, "red")],
            most=1,
        ),
    ],
)

WORK: Final = Row(
    "Work",
    [
        graph(
            "Jobs that ended",
            "By stage and how they ended.",
            "ops",
            Ask(rate("ml_tasks_total", "stage, state"), "{{stage}} {{state}}"),
        ),
        graph(
            "Duration",
            "From taking a job to its end.",
            "s",
            *quantiles("ml_task_duration_seconds", by="stage", where=STAGE),
        ),
        graph(
            "Backlog",
            "Records behind the end of each topic.",
            "short",
            Ask(f"sum by (stage, topic) (ml_consumer_lag{STAGE})", "{{stage}}: {{topic}}"),
            limits=[Limit(100, "red")],
        ),
        graph(
            "Jobs and records",
            "Jobs that run, and records that were read and are not acknowledged yet.",
            "short",
            Ask(f"sum by (stage) (ml_active_tasks{STAGE})", "{{stage}} runs"),
            Ask(f"sum by (stage) (ml_held_records{STAGE})", "{{stage}} holds"),
        ),
        graph(
            "Skipped",
            "Jobs without a result to speak of, by reason.",
            "short",
            Ask(risen("ml_tasks_skipped_total", "stage, reason"), "{{stage}}: {{reason}}"),
        ),
        graph(
            "Overdue",
            "Jobs that ran longer than their stage's soft limit.",
            "short",
            Ask(risen("ml_overdue_tasks_total", "stage"), "{{stage}}"),
        ),
    ],
)

TROUBLE: Final = Row(
    "Trouble",
    [
        graph(
            "Errors",
            "Tries that failed, by the error's route.",
            "short",
            Ask(risen("ml_task_errors_total", "stage, error"), "{{stage}}: {{error}}"),
        ),
        graph(
            "Retries and lease waits",
            "Jobs that wait for another try, or for another worker that does the same work.",
            "short",
            Ask(risen("ml_task_retries_total", "stage"), "{{stage}} retries"),
            Ask(risen("ml_lease_waits_total", "stage"), "{{stage}} waits for a lease"),
        ),
        graph(
            "Dead letters",
            "Messages that were given up on.",
            "short",
            Ask(risen("ml_dead_letters_total", "stage"), "{{stage}}"),
        ),
    ],
)

MODELS: Final = Row(
    "Models",
    [
        graph(
            "Latency",
            "Of a model's call, whatever came of it.",
            "s",
            *quantiles("ml_model_latency_seconds", by="stage, model", where=STAGE),
        ),
        graph(
            "Calls",
            "By model.",
            "ops",
            Ask(rate("ml_model_latency_seconds_count", "stage, model"), "{{stage}} {{model}}"),
        ),
        graph(
            "Tokens",
            "That models have read (in) or written (out).",
            "short",
            Ask(risen("ml_tokens_processed_total", "model, direction"), "{{model}} {{direction}}"),
        ),
        graph(
            "Realtime factor",
            "Seconds of listening a second of sound: above 1 a model is slower than the speaker.",
            "short",
            Ask("model:ml_realtime_factor:mean15m", "{{backend}} {{model}} mean"),
            *quantiles("ml_realtime_factor", by="backend, model", parts=(0.95,)),
            limits=[Limit(1, "red")],
        ),
        graph(
            "Sound",
            "Seconds of sound that models have heard, a second.",
            "short",
            Ask(rate("ml_audio_duration_seconds_total", "stage, model"), "{{stage}} {{model}}"),
        ),
    ],
)

EMBEDDINGS: Final = Row(
    "Embeddings",
    [
        graph(
            "Vectors",
            "Vectors that models have made.",
            "ops",
            Ask(rate("ml_embeddings_generated_total", "model", ""), "{{model}}"),
        ),
        graph(
            "Latency",
            "Until a model has embedded the texts of a call.",
            "s",
            *quantiles("ml_embedding_latency_seconds", by="model"),
        ),
        graph(
            "Texts of a call",
            "On average; the more, the cheaper.",
            "short",
            Ask(mean("ml_embedding_batch_size", "model"), "{{model}}"),
        ),
        graph(
            "Chunks",
            "That texts were cut into, by the way of cutting.",
            "ops",
            Ask(rate("ml_embedding_chunks_total", "chunker", ""), "{{chunker}}"),
        ),
        graph(
            "Chunks of a text",
            "On average.",
            "short",
            Ask(mean("ml_chunks_per_document", "chunker"), "{{chunker}}"),
        ),
        graph(
            "Tokens of a chunk",
            "As the model counts them.",
            "short",
            *quantiles("ml_chunk_size_tokens", by="chunker"),
        ),
    ],
)

MEDIA: Final = Row(
    "Media",
    [
        graph(
            "Fetches",
            "By way and outcome.",
            "ops",
            Ask(rate("ml_fetches_total", "way, outcome", ""), "{{way}} {{outcome}}"),
        ),
        graph(
            "Duration of a fetch",
            "Extraction included.",
            "s",
            *quantiles("ml_fetch_duration_seconds", by="way"),
        ),
        graph("Bytes", "That were read for fetches.", "Bps", Ask(rate("ml_fetch_bytes_total", "way", ""), "{{way}}")),
        graph(
            "Refused targets",
            "That were not connected to, by reason.",
            "short",
            Ask(risen("ml_fetch_refused_total", "reason", ""), "{{reason}}"),
        ),
        graph(
            "Extractions looked up",
            "And whether they were known.",
            "short",
            Ask(risen("ml_fetch_cache_total", "found", ""), "found: {{found}}"),
        ),
        graph(
            "Storage",
            "Objects that S3 has taken or not, and those that went to the local folder.",
            "short",
            Ask("sum(increase(ml_storage_s3_uploads_total[$__rate_interval]))", "S3"),
            Ask("sum(increase(ml_storage_s3_upload_errors_total[$__rate_interval]))", "S3 errors"),
            Ask("sum(increase(ml_storage_local_total[$__rate_interval]))", "local"),
        ),
    ],
)

BOARD: Final = board(
    "pipeline",
    "Millrace: pipeline",
    "What the agents do: stages, backlog, errors, models, embeddings, fetches.",
    [NOW, WORK, TROUBLE, MODELS, EMBEDDINGS, MEDIA],
    [Choice("stage", "Stage", "ml_worker_info")],
)
