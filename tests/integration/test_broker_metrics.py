"""A real broker, with the agent and the file of deploy/prometheus, and a real disk tell what is asked for."""

from __future__ import annotations

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from millrace.embedded.artifacts import Artifact, Package, load_packages
from millrace.embedded.errors import DownloadFailed
from millrace.embedded.fetch import MIRROR_VARIABLE, fetch
from millrace.embedded.java import find_java
from millrace.embedded.kafka import KafkaPlan
from millrace.embedded.paths import cache_folder
from millrace.embedded.ports import choose_ports, port_is_free
from tests.contract.observed import FOREIGN, OF_TARGETS, PROMETHEUS, askable, dashboards, ours, queries, rules
from tests.support.process import begin, free_port
from tests.support.promql import Labels, read
from tests.support.tools import tool
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)  # the first run on a machine downloads 180 MiB
AGENT: Final = Artifact(
    "io.prometheus.jmx:jmx_prometheus_javaagent:1.0.1:jar",
    2886599,
    "7d61f737fd661610ccc14aea79764faa1ea94a340cbc8f0029b3d2edea3d80c1",
)
CONFIGURATION: Final = PROMETHEUS / "kafka-jmx.yml"
OF_BROKERS: Final = {name for name in FOREIGN if name.startswith(("kafka_", "jvm_"))}
Series = Mapping[str, list[Mapping[str, str]]]


@pytest.fixture(scope="module")
def agent() -> Path:
    """The Java agent, in the cache beside Kafka."""
    package = Package("jmx-exporter", (AGENT,))
    try:
        folder = fetch(package, cache_folder(os.environ), print, os.environ.get(MIRROR_VARIABLE))
    except DownloadFailed as exc:
        pytest.skip(f"the JMX exporter cannot be had: {exc}")
    (jar,) = folder.iterdir()
    return jar


@pytest.fixture(scope="module")
def told(agent: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    """What a broker tells that has a topic and has taken messages."""
    folder = tmp_path_factory.mktemp("broker")
    lock = os.open(folder, os.O_RDONLY)
    kafka = fetch(load_packages()["kafka"], cache_folder(os.environ), print, os.environ.get(MIRROR_VARIABLE))
    names = ("kafka", "controller", "metrics")
    ports = choose_ports(names, given={}, remembered={}, is_free=port_is_free, folder=folder)
    plan = KafkaPlan(folder, ports["kafka"], ports["controller"], kafka, find_java(), folder / "broker.log", lock)
    plan.prepare()
    asyncio.run(plan.format_if_new())
    java, *rest = plan.command().argv
    agents = f"-javaagent:{agent}=127.0.0.1:{ports['metrics']}:{CONFIGURATION}"
    broker = begin([java, agents, *rest], plan.log)
    try:
        clients: dict[str, str | int | float | bool] = {"bootstrap.servers": plan.address, "log_level": 0}
        admin = AdminClient(clients)
        admin.create_topics([NewTopic("talk.of-mills", 2, 1)])["talk.of-mills"].result(60)
        producer = Producer(clients)
        producer.produce("talk.of-mills", b"water", partition=1)
        assert producer.flush(30) == 0
        yield scraped(f"http://127.0.0.1:{ports['metrics']}/metrics")
    finally:
        broker.kill()
        broker.wait(20)
        os.close(lock)


def scraped(url: str) -> Series:
    """Labels of each series, by its name."""
    found: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for family in text_string_to_metric_families(httpx.get(url, timeout=30, trust_env=False).raise_for_status().text):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    return found


def labels_of(series: Series, names: set[str]) -> dict[str, Labels]:
    """Label names of some series, as they are told; one that is not told is left out."""
    return {name: frozenset(series[name][0]) for name in names if name in series}


def asked(known: Mapping[str, Labels], of: Callable[[str], bool]) -> set[tuple[str, str, str]]:
    """Values that rules and dashboards pick, of some series."""
    texts = [rule.expr for rule in rules()]
    texts += [expr for board in dashboards().values() for expr, _ in queries(board)]
    found = {one for text in texts for one in read(text, known).values}
    return {(name, label, value) for name, label, value in found if of(name) and label not in OF_TARGETS}


def test_a_broker_tells_what_rules_and_dashboards_ask_for(told: Series) -> None:
    labels = labels_of(told, OF_BROKERS)
    assert labels == {name: FOREIGN[name] for name in OF_BROKERS}
    picked = asked(askable(ours() | labels), OF_BROKERS.__contains__)
    assert picked == {(f"jvm_memory_{which}_bytes", "area", "heap") for which in ("used", "max")}
    assert all(any(one[label] == value for one in told[name]) for name, label, value in picked)


def test_a_topic_is_told_by_its_own_name(told: Series) -> None:
    sizes = [one for one in told["kafka_log_size_bytes"] if one["topic"] == "talk.of-mills"]
    assert sorted(one["partition"] for one in sizes) == ["0", "1"]


def test_it_tells_nothing_of_kafka_that_nobody_asks_for(told: Series) -> None:
    """Each bean that is read costs the broker time at every scrape."""
    assert {name for name in told if name.startswith("kafka_")} == {
        one for one in OF_BROKERS if one.startswith("kafka_")
    }


def test_the_file_names_the_agent_that_was_tried() -> None:
    group, name, version, _ = AGENT.coordinate.split(":")
    assert set(re.findall(r"jmx_prometheus_javaagent[:-]([\d.]+\d)", CONFIGURATION.read_text())) == {version}
    assert f"{group}:{name}:" in CONFIGURATION.read_text()


def test_a_disk_tells_what_rules_ask_for(tmp_path: Path) -> None:
    port = free_port()
    argv = [str(tool("prometheus-node-exporter")), f"--web.listen-address=127.0.0.1:{port}"]
    exporter = begin([*argv, "--collector.disable-defaults", "--collector.filesystem"], tmp_path / "log")
    try:

        def answered() -> Series:
            try:
                return scraped(f"http://127.0.0.1:{port}/metrics")
            except httpx.TransportError:
                return {}

        series = until(answered, "node_exporter", 30)
    finally:
        exporter.kill()
        exporter.wait(10)
    name = "node_filesystem_avail_bytes"
    assert labels_of(series, {name}) == {name: FOREIGN[name]}
