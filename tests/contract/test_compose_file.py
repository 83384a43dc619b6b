"""compose.kafka.yml is valid, sealed, limited, and names what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from millrace.contracts.catalog import Catalog
from millrace.embedded.artifacts import load_packages
from millrace.embedded.services import programs
from scripts.compose_env import TARGET as SETTINGS_FILE
from scripts.compose_env import page
from scripts.configuration import SECTIONS, variables
from scripts.containers.secret_files import make_secrets
from scripts.containers.start import URLS
from scripts.image_parts import DOCKERFILE
from tests.support.compose_file import COMPOSE, ROOT, SECRETS, document, services
from tests.support.tools import tool

SCHEMA: Final = Path(__file__).parent / "vendored" / "compose-spec" / "compose-spec.json"
SERVICES: Final = services()
JOBS: Final = {"setup", "ksqldb-statements"}
LASTING: Final = sorted(SERVICES.keys() - JOBS)
OURS: Final = {
    *("media-agent", "transcribe-agent", "transcribe-agent-gpu", "summarize-agent", "embed-agent"),
    *("cost-ledger", "api-gateway"),
}
OF_COMMANDS: Final = {"MILLRACE_REPLICATION", "MILLRACE_DATABASE_PASSWORD"}
"""Variables that no service reads, but `millrace topics apply` and postgres-init.sql do."""


def problems(compose: dict[str, Any]) -> list[str]:
    """What the schema has against a file."""
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(compose)]


def test_the_file_is_what_the_schema_of_compose_says() -> None:
    assert problems(document()) == []


def test_the_schema_has_something_against_a_wrong_file() -> None:
    compose = document()
    compose["services"]["postgres"]["helthcheck"] = {}
    assert problems(compose) != []


def test_compose_itself_reads_the_file(tmp_path: Path) -> None:
    compose = tool("docker-compose")
    version = subprocess.run((compose, "version", "--short"), capture_output=True, text=True, check=False, timeout=60)
    if version.stdout.startswith("1."):
        pytest.skip("this docker-compose is older than Compose 2")
    copy = tmp_path / "copy"
    (copy / "deploy").mkdir(parents=True)
    shutil.copy(COMPOSE, copy)
    shutil.copytree(
        ROOT / "deploy" / "compose", copy / "deploy" / "compose", ignore=shutil.ignore_patterns("secrets")
    )
    make_secrets(copy / SECRETS)
    words = (str(compose), "--file", str(copy / COMPOSE.name), "--profile", "gpu", "config", "--format", "json")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["services"].keys() == SERVICES.keys()


@pytest.mark.parametrize("name", LASTING)
def test_what_runs_on_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    health = service["healthcheck"]
    assert health["test"][0] == "CMD"  # a shell would be one more thing that images need
    assert {"interval", "timeout", "retries", "start_period"} <= health.keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_runs_as_root_writes_to_its_image_or_may_take_all_of_the_machine(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert group.isdecimal()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.keys().isdisjoint({"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"})
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert not ports or "outside" in SERVICES[name]["networks"]  # an internal network publishes none


def test_what_needs_no_way_out_has_none() -> None:
    assert document()["networks"]["inside"] == {"internal": True}
    inside = {name for name, service in SERVICES.items() if "outside" not in service.get("networks", ["none"])}
    assert inside == {"postgres", "s3", "s3-expiry", "setup", "cost-ledger", "ksqldb-statements", "node-exporter"}


def test_every_image_has_a_version() -> None:
    for name, service in SERVICES.items():
        version = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", version), name


def test_broker_and_registry_are_those_that_tests_run_against() -> None:
    known = load_packages()
    assert f"FROM apache/kafka:{known['kafka'].artifacts[0].version} AS kafka\n" in DOCKERFILE.read_text()
    assert SERVICES["registry"]["image"].endswith(f":{known['registry'].artifacts[0].version}")


def test_every_service_of_millrace_is_there() -> None:
    assert {name.replace("_", "-") for name in programs(Catalog.load())} | {"transcribe-agent-gpu"} == OURS
    for name in OURS:
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "python", "-m", "millrace.health"]
        assert SERVICES[name]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}


def test_every_setting_that_is_set_is_one_that_is_read() -> None:
    known = {
        name.strip("` ")
        for _, settings, _ in SECTIONS
        for key, field in settings.model_fields.items()
        for name in variables(key, field).split(",")
    }
    for name, service in SERVICES.items():
        mine = {variable for variable in service.get("environment", {}) if variable.startswith("MILLRACE_")}
        assert mine <= known | OF_COMMANDS, name


def test_the_file_of_settings_is_up_to_date() -> None:
    assert SETTINGS_FILE.read_text() == page(), "run: python scripts/compose_env.py"


def test_a_stop_leaves_services_the_time_they_take() -> None:
    for name in OURS:
        assert SERVICES[name]["stop_grace_period"] == "40s"  # MILLRACE_DRAIN_S is 20, the gateway's own limits are 15


def test_every_file_that_is_mounted_or_read_exists(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    for name, service in SERVICES.items():
        mounts = [mount.split(":")[0] for mount in service.get("volumes", []) if mount.startswith("./")]
        for path in [*(mount.removeprefix("./") for mount in mounts), *service.get("env_file", [])]:
            if path.startswith(SECRETS):
                assert (tmp_path / path.removeprefix(SECRETS)).exists(), (name, path)
            else:
                assert (ROOT / path).exists(), (name, path)


def test_mounted_files_cannot_be_written() -> None:
    for name, service in SERVICES.items():
        mounts = [mount for mount in service.get("volumes", []) if mount.startswith("./")]
        assert [mount for mount in mounts if not mount.endswith(":ro")] == [], name


def test_every_volume_is_declared_and_used() -> None:
    used = {
        mount.split(":")[0]
        for service in SERVICES.values()
        for mount in service.get("volumes", [])
        if not mount.startswith("./")
    }
    assert used == document()["volumes"].keys()


def test_three_brokers_agree_and_two_of_them_are_enough() -> None:
    brokers = [SERVICES[f"kafka-{n}"]["environment"] for n in (1, 2, 3)]
    assert [one["KAFKA_NODE_ID"] for one in brokers] == [1, 2, 3]
    for n, one in enumerate(brokers, 1):
        assert f"{n}@kafka-{n}:9093" in one["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert (one["KAFKA_DEFAULT_REPLICATION_FACTOR"], one["KAFKA_MIN_INSYNC_REPLICAS"]) == (3, 2)
        replicas = {value for name, value in one.items() if name.endswith("REPLICATION_FACTOR")}
        enough = {value for name, value in one.items() if name.endswith("MIN_ISR")}
        assert (replicas, enough) == ({3}, {2})
        (port,) = SERVICES[f"kafka-{n}"]["ports"]
        host = port.split(":")[1]
        assert f"HOST://127.0.0.1:{host}" in one["KAFKA_ADVERTISED_LISTENERS"]
        assert f"HOST://:{host}" in one["KAFKA_LISTENERS"]
    assert len({one["KAFKA_CONTROLLER_QUORUM_VOTERS"] for one in brokers}) == 1


def test_what_a_start_says_is_where_ports_are_published() -> None:
    published = {port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", [])}
    told = {address for url in URLS.values() for address in re.findall(r"127\.0\.0\.1:\d+", url)}
    assert told == published


def test_no_secret_is_in_a_file_of_the_tree() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY\b", variable), (name, variable)
            assert not re.search(r"://[^/@\s]+:[^/@\s]+@", str(value)), (name, variable)
    assert not re.search(r"^[A-Z_]*(PASSWORD|SECRET|TOKEN)[A-Z_]*=.", SETTINGS_FILE.read_text(), re.MULTILINE)
    assert SECRETS in (ROOT / ".gitignore").read_text().splitlines()
