"""What the chart tells containers, told to processes: the setup's commands, and services until they have stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest

from millrace.contracts.catalog import Catalog
from millrace.embedded.process import last_lines
from millrace.embedded.readyfile import Addresses
from millrace.embedded.services import programs
from tests.contract.test_chart import chart, component, environment_of
from tests.support.manifests import Document, Pod, containers, pods
from tests.support.process import Service, is_ready
from tests.support.stack import own_stack
from tests.support.tools import tool
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

SECRETS: Final = {"MILLRACE_JWT_SECRET": "a-secret-of-a-test-that-is-long-enough"}
HERE: Final = "127.0.0.1"
READY_WITHIN_S: Final = 120.0
"""What the chart's startup probe allows."""


def installed(stack: Addresses) -> list[Document]:
    """The chart's documents for a stack on this machine."""
    values = {
        "kafka.bootstrap": stack.kafka,
        "kafka.tls": "false",
        "kafka.mechanism": "",
        "registry.url": stack.registry,
        "setup.replication": "1",
    }
    return chart("default", "--set", ",".join(f"{name}={value}" for name, value in values.items()))


def told(found: list[Document], pod: Pod, container: Document, stack: Addresses) -> dict[str, str]:
    """A container's variables, with the secrets that a cluster would have."""
    return environment_of(found, container) | {
        name: value
        for name, value in {**SECRETS, "MILLRACE_POSTGRES": stack.postgres}.items()
        if name in {variable["name"] for variable in container["env"]}
    }


def start(pod: Pod, environment: Mapping[str, str], folder: Path) -> Service:
    """A service as its image starts it. All are on one machine here, and on loopback: each gets a port of its own."""
    own = {name: HERE for name in ("MILLRACE_OPS_HOST", "MILLRACE_HTTP_HOST") if name in environment}
    if "MILLRACE_BLOBS" in environment:
        own["MILLRACE_BLOBS"] = str(folder / "media")
    module = f"services.{component(pod).replace('-', '_')}"
    return Service(module, {**environment, **own}, folder / f"{component(pod)}.log")


@pytest.mark.timeout(400)
def test_the_setup_and_all_services_run_as_the_chart_says(tmp_path: Path) -> None:
    tool("helm")  # before anything is started for nothing
    with own_stack(tmp_path) as stack:
        found = installed(stack)
        (setup,) = (pod for pod in pods(found) if component(pod) == "setup")
        for container in containers(setup):
            program = [sys.executable, "-m", "millrace.cli.main", *container["command"][1:]]
            environment = {**os.environ, **told(found, setup, container, stack)}
            done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr
        serving = [pod for pod in pods(found) if component(pod) != "setup"]
        started: list[tuple[Pod, Service]] = []
        try:
            for pod in serving:
                environment = told(found, pod, pod.spec["containers"][0], stack)
                started.append((pod, start(pod, environment, tmp_path)))
            for pod, service in started:
                until(partial(is_ready_or_dead, service), f"{pod.name}: see {service.log}", READY_WITHIN_S)
                assert_probes_are_answered(pod, service)
            for _, service in started:
                service.signal(signal.SIGTERM)
            for pod, service in started:
                assert service.process.wait(pod.spec["terminationGracePeriodSeconds"]) == 0, pod.name
        finally:
            for _, service in started:
                service.end()
    assert {component(pod) for pod in serving} == {name.replace("_", "-") for name in programs(Catalog.load())}


def is_ready_or_dead(service: Service) -> bool:
    assert service.running, "\n".join(last_lines(service.log, 50))
    return is_ready(service.url)


def assert_probes_are_answered(pod: Pod, service: Service) -> None:
    """As the kubelet asks them; who asks for metrics of the gateway has to sign in."""
    (container,) = pod.spec["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert httpx.get(service.url + path, trust_env=False).status_code == httpx.codes.OK, (pod.name, probe)
    metrics = httpx.get(f"{service.url}/metrics", trust_env=False).status_code
    assert metrics == (httpx.codes.UNAUTHORIZED if component(pod) == "api-gateway" else httpx.codes.OK)
