"""deploy/prometheus is right by Prometheus's own tool, and says what docs/operating.md explains."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from millrace.contracts.catalog import Catalog
from millrace.embedded.services import programs
from tests.contract.observed import PROMETHEUS, Rule, askable, ours, rules
from tests.support.process import ROOT
from tests.support.promql import read
from tests.support.tools import tool

ALERTS = {rule.alert: rule for rule in rules() if rule.alert is not None}
GRAFANA = ROOT / "deploy" / "grafana"
TOKEN = "/run/secrets/metrics-token"


def promtool(*arguments: str | Path, cwd: Path) -> None:
    argv = [tool("promtool"), *arguments]
    done = subprocess.run(argv, cwd=cwd, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration_and_its_rules(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    configuration = folder / "prometheus.yml"
    text = configuration.read_text()
    assert TOKEN in text
    (tmp_path / "token").touch()  # it looks whether the file is there
    configuration.write_text(text.replace(TOKEN, str(tmp_path / "token")))
    promtool("check", "config", "--lint=all", "--lint-fatal", configuration, cwd=folder)


def test_the_unit_tests_of_the_rules_pass() -> None:
    promtool("test", "rules", "alerts.yml", cwd=PROMETHEUS / "tests")


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    seen: dict[str, set[bool]] = defaultdict(set)
    for test in yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())["tests"]:
        for one in test["promql_expr_test"]:
            for alert in named(one["expr"]):
                expected = one.get("exp_samples", [])
                told_apart = any("alertname=" in sample["labels"] for sample in expected)
                if not expected:
                    seen[alert].add(False)
                elif not told_apart or any(f'alertname="{alert}"' in sample["labels"] for sample in expected):
                    seen[alert].add(True)
    assert {alert: seen[alert] for alert in ALERTS} == {alert: {True, False} for alert in ALERTS}


def named(expr: str) -> list[str]:
    """The alerts that a query of ALERTS is about."""
    found: list[str] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            for matcher in node.matchers.matchers:
                if matcher.name == "alertname":
                    found.extend(alert for alert in ALERTS if re.fullmatch(matcher.value, alert))

    promql.walk(promql.parse(expr), visit)
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.record or rule.alert)
def test_a_rule_asks_for_what_there_is(rule: Rule) -> None:
    labels = read(rule.expr, askable(ours())).labels
    assert labels is not None
    said = " ".join(rule.source.get("annotations", {}).values())
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: str) -> None:
    source = ALERTS[alert].source
    assert source["labels"].keys() == {"severity"}
    assert source["labels"]["severity"] in {"critical", "warning", "info"}
    assert source["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert source["annotations"]["runbook_url"] == f"docs/operating.md#{alert.lower()}"


def test_the_page_explains_each_alert_and_no_other() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    (section,) = re.findall(r"^## Alerts\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#### (\w+)\n", section, flags=re.MULTILINE)
    explained = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(explained) == list(ALERTS)
    for alert, text in explained.items():
        for part in ("Means", "Look", "Do"):
            assert f"\n- {part}: " in text, f"{alert} lacks what it means, how to look or what to do"


def test_every_stage_is_missed_when_it_has_no_worker() -> None:
    asked = read(ALERTS["MillraceStageWithoutWorker"].expr, askable(ours())).values
    assert {value for _, label, value in asked if label == "stage"} == set(Catalog.load().stages)


def test_every_service_is_scraped_once() -> None:
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target for job in jobs if "millrace" in job["job_name"] for target in job["static_configs"][0]["targets"]
    ]
    assert sorted(target.split(":")[0] for target in targets) == sorted(
        name.replace("_", "-") for name in programs(Catalog.load())
    )


def test_every_target_is_a_service_of_compose_at_the_port_that_it_has_there() -> None:
    services = yaml.safe_load((ROOT / "compose.kafka.yml").read_text())["services"]
    ports = {"millrace": "MILLRACE_OPS_PORT", "millrace-gateway": "MILLRACE_HTTP_PORT"}
    for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]:
        for host, port in (target.split(":") for target in job["static_configs"][0]["targets"]):
            assert host in services
            if (setting := ports.get(job["job_name"])) is not None:
                assert services[host]["environment"][setting] == port, host
            elif job["job_name"] == "kafka":
                assert f"={port}:/etc/kafka-jmx.yml" in services[host]["environment"]["KAFKA_OPTS"], host


def test_compose_puts_files_where_they_are_looked_for() -> None:
    services = yaml.safe_load((ROOT / "compose.kafka.yml").read_text())["services"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "millrace.yml").read_text())["providers"]
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in services["grafana"]["volumes"]}
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    assert TOKEN in {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    assert source["url"] == "http://prometheus:9090"
