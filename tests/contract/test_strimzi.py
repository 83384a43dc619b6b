"""deploy/strimzi: valid, as the catalogue says, and with a backup that can be restored."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from millrace.contracts.acls import OPERATOR, grants
from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import PRODUCTION_REPLICATION, wanted_config
from millrace.embedded.postgres import find_postgres
from millrace.embedded.readyfile import Addresses
from millrace.store.migrate import migrate
from scripts.strimzi import FOLDER, SCALER, files
from tests.contract.test_chart import CHART
from tests.support.database import own_database, rows
from tests.support.manifests import (
    Document,
    documents,
    policy_problems,
    schema_problems,
    secret_problems,
    selector_problems,
)

FILES: Final = sorted(file.name for file in FOLDER.glob("*.yaml"))
DAY_S: Final = 86_400
TABLES: Final = "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname"


def read(name: str) -> list[Document]:
    return documents((FOLDER / name).read_text())


def kinds(name: str, kind: str) -> dict[str, Document]:
    """The documents of a kind in a file, by name."""
    return {document["metadata"]["name"]: document for document in read(name) if document["kind"] == kind}


@pytest.mark.parametrize("name", FILES)
def test_documents_are_what_kubernetes_and_strimzi_take(name: str) -> None:
    found = read(name)
    assert found
    assert [problem for document in found for problem in schema_problems(document)] == []
    assert list(policy_problems(found)) == []
    assert list(secret_problems(found)) == []
    assert list(selector_problems([each for each in found if each["kind"] != "PodMonitor"])) == []


@pytest.mark.parametrize("name", ["topics.yaml", "users.yaml"])
def test_what_is_written_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == files(Catalog.load(more=[]))[name], "run: python scripts/strimzi.py"


def test_every_topic_is_there_as_services_want_it() -> None:
    catalog = Catalog.load(more=[])
    found = {
        document["spec"]["topicName"]: document["spec"] for document in kinds("topics.yaml", "KafkaTopic").values()
    }
    assert found.keys() == catalog.topics.keys()
    for name, spec in catalog.topics.items():
        assert found[name]["partitions"] == spec.partitions
        assert found[name]["replicas"] == 3
        assert found[name]["config"] == wanted_config(spec, PRODUCTION_REPLICATION)
        assert found[name]["config"]["min.insync.replicas"] == "2"


def allowed(user: Document) -> set[tuple[str, str, str, str]]:
    """Rights as kind, name, pattern and operation."""
    return {
        (acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"], operation)
        for acl in user["spec"].get("authorization", {"acls": []})["acls"]
        for operation in acl["operations"]
    }


def test_users_may_do_what_the_rules_say_and_no_more() -> None:
    found = kinds("users.yaml", "KafkaUser")
    kind = {"topic": "topic", "group": "group", "transactional-id": "transactionalId"}
    for name, user in found.items():
        assert user["spec"]["authentication"] == {"type": "scram-sha-512"}
        if name == SCALER:
            continue
        assert allowed(user) == {
            (
                kind[grant.resource],
                grant.name,
                "prefix" if grant.prefixed else "literal",
                grant.operation.title().replace("-", ""),
            )
            for grant in grants(Catalog.load(more=[]))
            if grant.user == name
        }
    assert allowed(found[OPERATOR]) == set()
    (kafka,) = kinds("kafka.yaml", "Kafka").values()
    assert kafka["spec"]["kafka"]["authorization"] == {"type": "simple", "superUsers": [OPERATOR]}


def test_the_scaler_sees_groups_and_reads_nothing() -> None:
    rights = allowed(kinds("users.yaml", "KafkaUser")[SCALER])
    assert {operation for *_, operation in rights} == {"Describe"}
    assert ("group", "millrace-", "prefix", "Describe") in rights
    assert {"share.created", "transcribe.requested.local"} <= {name for kind, name, *_ in rights if kind == "topic"}


def test_users_of_the_chart_exist_and_have_their_secrets() -> None:
    users = kinds("users.yaml", "KafkaUser")
    (kafka,) = kinds("kafka.yaml", "Kafka").values()
    prefix = kafka["spec"]["entityOperator"]["userOperator"]["secretPrefix"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["keda"]["user"]["name"] in users
    assert values["keda"]["user"]["existingSecret"] == prefix + values["keda"]["user"]["name"]
    services = {"media-agent", "transcribe-agent", "summarize-agent", "embed-agent", "cost-ledger", "api-gateway"}
    assert services < users.keys()
    assert values["kafka"]["bootstrap"] == f"{kafka['metadata']['name']}-kafka-bootstrap:9093"
    assert values["kafka"]["ca"]["existingSecret"] == f"{kafka['metadata']['name']}-cluster-ca-cert"


def test_three_brokers_in_zones_lose_nothing_with_one() -> None:
    (kafka,) = kinds("kafka.yaml", "Kafka").values()
    pools = kinds("kafka.yaml", "KafkaNodePool")
    assert [pools[name]["spec"]["replicas"] for name in ("broker", "controller")] == [3, 3]
    (volume,) = pools["broker"]["spec"]["storage"]["volumes"]
    assert (volume["size"], volume["deleteClaim"]) == ("200Gi", False)
    spec = kafka["spec"]["kafka"]
    assert spec["rack"]["topologyKey"] == "topology.kubernetes.io/zone"
    config = spec["config"]
    for topic in ("offsets.topic", "transaction.state.log", "default"):
        assert config[f"{topic}.replication.factor"] == 3
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == 2
    assert config["unclean.leader.election.enable"] is False
    assert config["auto.create.topics.enable"] is False
    for listener in spec["listeners"]:
        assert listener["tls"]
        assert listener["authentication"] == {"type": "scram-sha-512"}
    for name, pool in pools.items():
        spread = pool["spec"]["template"]["pod"]["topologySpreadConstraints"][0]
        assert spread["labelSelector"]["matchLabels"]["strimzi.io/pool-name"] == name
        assert spread["whenUnsatisfiable"] == "DoNotSchedule"


def test_the_mirror_copies_what_readers_read_and_nothing_of_the_ledger() -> None:
    (mirror,) = kinds("mirror.yaml", "KafkaMirrorMaker2").values()
    (flow,) = mirror["spec"]["mirrors"]
    topics = Catalog.load(more=[]).topics
    copied = {name for name in topics if re.fullmatch(flow["topicsPattern"], name)}
    left = {name for name in topics if topics[name].owner == "cost_ledger" or name.startswith("cost.")}
    assert copied == topics.keys() - left - {name for name in topics if name.endswith(".dead")}
    connectors = (flow["sourceConnector"], flow["checkpointConnector"])
    assert len({each["config"]["replication.policy.class"] for each in connectors}) == 1


# The backup's own command, on a database


def _backup() -> Mapping[str, Any]:
    (job,) = kinds("backup.yaml", "CronJob").values()
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def back_up(dsn: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the job does, with the programs of the version that stacks of tests run."""
    environment = {
        "PATH": f"{find_postgres()}:{os.environ['PATH']}",
        "MILLRACE_POSTGRES": dsn,
        "BACKUPS": str(folder),
    }
    return subprocess.run(
        _backup()["command"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


async def test_a_backup_is_restored_as_it_was(stack: Addresses, tmp_path: Path) -> None:
    async with own_database(stack.postgres) as original, own_database(stack.postgres) as restored:
        await asyncio.to_thread(migrate, original)
        with psycopg.connect(original) as connection:
            connection.execute("CREATE TABLE of_vectors (v vector(3))")
            connection.execute("INSERT INTO of_vectors VALUES ('[1,2,3]')")
        done = await asyncio.to_thread(back_up, original, tmp_path)
        assert done.returncode == 0, done.stderr
        dump = only(tmp_path)
        await asyncio.to_thread(restore, dump, restored)
        assert rows(restored, "SELECT v::text FROM of_vectors") == [{"v": "[1,2,3]"}]
        assert rows(restored, TABLES) == rows(original, TABLES)
        assert rows(restored, "SELECT version_num FROM alembic_version") != []


def test_a_backup_is_kept_for_seven_days(stack: Addresses, tmp_path: Path) -> None:
    young, old = (aged(tmp_path / f"millrace-{days}.dump", days) for days in (6.9, 7.1))
    aged(tmp_path / "millrace-torn.dump.part", 1)
    others = aged(tmp_path / "another", 30)
    assert back_up(stack.postgres, tmp_path).returncode == 0
    left = {file.name for file in tmp_path.iterdir()}
    assert old.name not in left
    assert {young.name, others.name} < left
    assert len(left) == 3


def test_a_backup_that_fails_says_so_and_leaves_the_others(stack: Addresses, tmp_path: Path) -> None:
    old = aged(tmp_path / "millrace-8.dump", 8)
    assert back_up(urlsplit(stack.postgres)._replace(path="/nowhere").geturl(), tmp_path).returncode != 0
    assert list(tmp_path.glob("*.dump")) == [old]


def restore(dump: Path, dsn: str) -> None:
    """As docs/deploying-kubernetes.md says."""
    program = find_postgres() / "pg_restore"
    subprocess.run([program, "--exit-on-error", "--no-owner", f"--dbname={dsn}", dump], check=True, timeout=60)


def only(folder: Path) -> Path:
    """The dump in a folder, which nobody else may read."""
    (dump,) = folder.iterdir()
    assert dump.stat().st_mode & 0o077 == 0
    return dump


def aged(file: Path, days: float) -> Path:
    """A file that was last written so long ago."""
    file.touch()
    past = file.stat().st_mtime - days * DAY_S
    os.utime(file, (past, past))
    return file
