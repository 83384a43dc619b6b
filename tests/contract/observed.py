"""What deploy/prometheus and deploy/grafana ask for, and what there is to ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml

from scripts.metrics import Known, sections
from tests.support.process import ROOT
from tests.support.promql import Labels, read

PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
DASHBOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"
OF_TARGETS: Final = frozenset({"job", "instance", "service"})
"""What prometheus.yml adds to every series."""
FOREIGN: Final[Mapping[str, Labels]] = {
    "up": frozenset(),
    "jvm_memory_used_bytes": frozenset({"area"}),
    "jvm_memory_max_bytes": frozenset({"area"}),
    "kafka_controller_activecontrollercount": frozenset(),
    "kafka_controller_offlinepartitionscount": frozenset(),
    "kafka_broker_underreplicatedpartitions": frozenset(),
    "kafka_broker_underminisrpartitioncount": frozenset(),
    "kafka_broker_bytesin_total": frozenset(),
    "kafka_broker_bytesout_total": frozenset(),
    "kafka_broker_messagesin_total": frozenset(),
    "kafka_log_size_bytes": frozenset({"topic", "partition"}),
    "node_filesystem_avail_bytes": frozenset({"device", "fstype", "mountpoint"}),
}
"""Metrics of others, with their labels; tests/integration/test_broker_metrics.py asks those others."""


class Rule(NamedTuple):
    """A rule of Prometheus: a series that it records, or an alert."""

    record: str | None
    alert: str | None
    expr: str
    source: Mapping[str, Any]


def rules() -> list[Rule]:
    """All rules, those that are recorded first."""
    found = []
    for name in ("recording.yml", "alerts.yml"):
        for group in yaml.safe_load((PROMETHEUS / "rules" / name).read_text())["groups"]:
            found += [Rule(one.get("record"), one.get("alert"), one["expr"], one) for one in group["rules"]]
    return found


def ours() -> dict[str, Labels]:
    """Labels of each series of our own, by the name that it is queried by."""
    return {name: labels for known in sections().values() for one in known for name, labels in series_of(one)}


def series_of(metric: Known) -> Iterator[tuple[str, Labels]]:
    """A metric's series: a counter has one, a histogram three."""
    labels = frozenset(metric.labels)
    match metric.kind:
        case "counter":
            yield f"{metric.name}_total", labels
        case "histogram":
            yield f"{metric.name}_bucket", labels | {"le"}
            yield f"{metric.name}_sum", labels
            yield f"{metric.name}_count", labels
        case _:
            yield metric.name, labels


def family_of(series: str) -> str:
    """A series' metric: its name without endings."""
    return re.sub("_(total|bucket|sum|count)$", "", series)


def askable(scraped: Mapping[str, Labels]) -> dict[str, Labels]:
    """Labels of all that may be queried: what is scraped, with the labels of its target, and what is recorded."""
    known = {name: labels | OF_TARGETS for name, labels in {**FOREIGN, **scraped}.items()}
    for rule in rules():
        if rule.record is not None:
            known[rule.record] = read(rule.expr, known).labels or frozenset()
    return known


def dashboards() -> dict[str, Any]:
    """Every dashboard, by the name of its file."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What shows something; rows only part them."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard with its legend, variables of Grafana's own put in."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield put_in(target["expr"]), target.get("legendFormat", "")


def choices(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The labels that a person may choose values of, and the metric that these are looked up in."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked is not None, variable
            yield asked[2], asked[1]


def put_in(expr: str) -> str:
    """A query as Grafana sends it, with something for its variables."""
    return re.sub(r"\$\w+", ".*", expr.replace("$__rate_interval", "5m"))
