"""docs/metrics.md says what the metrics say."""

from __future__ import annotations

from scripts.metrics import TARGET, page, sections


def test_the_page_is_up_to_date() -> None:
    assert TARGET.read_text() == page(), "run: python scripts/metrics.py"


def test_the_metrics_that_dashboards_were_promised_are_there() -> None:
    names = {one.name for known in sections().values() for one in known}
    promised = (
        "ml_tasks ml_task_duration_seconds ml_task_errors ml_active_tasks ml_cost_dollars "
        "ml_budget_remaining_dollars ml_budget_exceeded ml_tokens_processed ml_audio_duration_seconds "
        "ml_model_latency_seconds ml_worker_info ml_embeddings_generated ml_embedding_chunks "
        "ml_chunks_per_document ml_chunk_size_tokens ml_embedding_latency_seconds "
        "ml_vector_budget_usage_percentage ml_consumer_lag ml_task_retries ml_dead_letters ml_lease_waits "
        "ml_realtime_factor ml_tasks_skipped ml_embedding_batch_size ml_http_request_duration_seconds "
        "ml_producer_success ml_producer_failure ml_producer_retry ml_producer_publish_latency_seconds "
        "ml_producer_connection_state ml_producer_breaker_state ml_producer_retry_queue_size "
        "ml_producer_confirm_timeouts ml_producer_probe_failures"
    )
    assert set(promised.split()) <= names
