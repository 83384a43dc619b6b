"""What running services tell Prometheus is what docs/metrics.md says, with its labels."""

from __future__ import annotations

from collections import defaultdict

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import JFK_WAV
from scripts.metrics import sections
from tests.e2e.harness import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

OF_PROMETHEUS = {"le"}
SERVICES = ("media_agent", "transcribe_agent", "summarize_agent", "embed_agent", "cost_ledger")


def scraped(running: Running) -> tuple[dict[str, set[str]], dict[str, float]]:
    """Labels of each family, as far as it has series, and the sum of each sample's values."""
    addresses = [running.part(name).ops for name in SERVICES] + [running.addresses["gateway"]]
    token = {"authorization": f"Bearer {running.addresses['token']}"}  # of the gateway; ops endpoints ask for none
    labels: dict[str, set[str]] = defaultdict(set)
    sums: dict[str, float] = defaultdict(float)
    for address in addresses:
        text = httpx.get(f"{address}/metrics", headers=token, timeout=10).raise_for_status().text
        for family in text_string_to_metric_families(text):
            if family.name.startswith(("ml_", "millrace_")) and not family.name.endswith("_created"):
                labels[family.name] |= {name for one in family.samples for name in one.labels} - OF_PROMETHEUS
                for sample in family.samples:
                    sums[sample.name] += sample.value
    return labels, sums


def test_every_metric_is_there_as_the_page_says(running: Running, client: Client) -> None:
    text = "The mill stands by the river. Water turns the wheel, and the wheel turns the stone. " * 12
    shares = [client.upload(JFK_WAV, ShareRequest()).share_id, client.add(ShareRequest(text=text)).share_id]
    for share_id in shares:
        assert client.wait(share_id, within_s=120).state == "done"
    client.search("the wheel")
    found, sums = scraped(running)
    known = {one.name: set(one.labels) for of in sections().values() for one in of}
    assert found.keys() == known.keys()
    assert {name: labels for name, labels in found.items() if labels and labels != known[name]} == {}
    for name in (
        *("ml_tasks_total", "ml_worker_info", "ml_model_latency_seconds_count", "ml_audio_duration_seconds_total"),
        *("ml_embeddings_generated_total", "ml_embedding_chunks_total", "ml_chunk_size_tokens_count"),
        *("ml_embedding_latency_seconds_count", "ml_embedding_batch_size_count", "ml_cost_dollars_total"),
        *("ml_budget_remaining_dollars", "ml_http_request_duration_seconds_count", "ml_producer_success_total"),
    ):
        assert sums[name] > 0, name
