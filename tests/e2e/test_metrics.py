"""What running services tell Prometheus is what docs/metrics.md says, with its labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import JFK_WAV
from scripts.metrics import sections
from tests.contract.observed import askable, dashboards, family_of, ours, queries, rules
from tests.e2e.harness import Running
from tests.support.promql import read

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

OF_PROMETHEUS = {"le"}
OF_TROUBLE = {
    *("ml_task_errors_total", "ml_budget_exceeded_total", "ml_producer_failure_total"),
    *("ml_fetch_refused_total", "millrace_ledger_alerts_total"),
}
"""Series with labels that begin with the first trouble."""
VALUES_OF_TROUBLE = {("ml_http_request_duration_seconds_count", "status", "5xx")}
SERVICES = ("media_agent", "transcribe_agent", "summarize_agent", "embed_agent", "cost_ledger")


@pytest.fixture(scope="module")
def families(running: Running, client: Client, pages: str) -> list[Metric]:
    """What all services tell after shares of every kind went the whole way, and a search."""
    text = "The mill stands by the river. Water turns the wheel, and the wheel turns the stone. " * 12
    shares = [
        client.upload(JFK_WAV, ShareRequest()),
        client.add(ShareRequest(text=text, account="capped")),
        client.add(ShareRequest(url=f"http://{pages}/weir.html")),
    ]
    for share in shares:
        assert client.wait(share.share_id, within_s=120).state == "done"
    client.search("the wheel")
    return list(scraped(running))


def scraped(running: Running) -> Iterator[Metric]:
    """Our own families of every service."""
    addresses = [running.part(name).ops for name in SERVICES] + [running.addresses["gateway"]]
    token = {"authorization": f"Bearer {running.addresses['token']}"}  # of the gateway; ops endpoints ask for none
    for address in addresses:
        text = httpx.get(f"{address}/metrics", headers=token, timeout=10).raise_for_status().text
        for family in text_string_to_metric_families(text):
            if family.name.startswith(("ml_", "millrace_")) and not family.name.endswith("_created"):
                yield family


def test_every_metric_is_there_as_the_page_says(families: list[Metric]) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    sums: dict[str, float] = defaultdict(float)
    for family in families:
        found[family.name] |= {name for one in family.samples for name in one.labels} - OF_PROMETHEUS
        for sample in family.samples:
            sums[sample.name] += sample.value
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


def test_what_rules_and_dashboards_ask_for_is_told_with_those_labels_and_values(families: list[Metric]) -> None:
    series: dict[str, set[frozenset[tuple[str, str]]]] = defaultdict(set)
    for sample in (sample for family in families for sample in family.samples):
        series[sample.name].add(frozenset(sample.labels.items()))
    told = {name: frozenset(label for label, _ in next(iter(found))) for name, found in series.items()}
    # What has no series yet is defined all the same, with the labels that the test above compares.
    known = askable(ours() | told)
    asked = [read(rule.expr, known) for rule in rules()]
    asked += [read(expr, known) for board in dashboards().values() for expr, _ in queries(board)]
    metrics = {name for query in asked for name in query.metrics} & ours().keys()
    assert {family_of(name) for name in metrics} <= {family.name for family in families}
    missing = {name for name in metrics if name not in series}
    assert missing <= OF_TROUBLE, "a healthy run has none of these, so no panel of it shows anything"
    values = {(name, label, value) for query in asked for name, label, value in query.values if name in series}
    assert {one for one in values if not any(one[1:] in labels for labels in series[one[0]])} <= VALUES_OF_TROUBLE
