"""What a stream tells, and the readers of examples/consumers that are told it: plainly or on secured brokers."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import Producer
from fastavro import schemaless_writer

from examples.consumers.keeping import TOPICS
from millrace import ids
from millrace.cluster import Cluster
from millrace.contracts.catalog import Catalog
from millrace.contracts.headers import headers, new_trace
from millrace.contracts.registry import Registry
from millrace.contracts.schemas import SchemaSpec
from millrace.embedded.java import find_java
from tests.foreign.jars import fetch_jars
from tests.support.process import ROOT

CATALOG: Final = Catalog.load()
EXAMPLES: Final = ROOT / "examples" / "consumers"
JAVA: Final = EXAMPLES / "java"
PYTHON: Final[Mapping[str, Sequence[str | Path]]] = {
    name: (sys.executable, "-m", f"examples.consumers.{name}", "--end")
    for name in ("python_confluent", "python_aiokafka")
}
KCAT: Final = (EXAMPLES / "kcat.sh",)
_MAIN: Final = "io.millrace.examples.KeepResults"
Json = dict[str, object]


class Said(NamedTuple):
    """What a reader says of a message."""

    word: str
    topic: str
    key: str


@dataclass
class Told:
    """What is on the topics, and what a reader of all has to make of it."""

    cluster: Cluster
    registry: str
    prefix: str = ""
    said: Counter[Said] = field(default_factory=Counter)
    kept: dict[str, Json] = field(default_factory=dict)
    redone: Said | None = None
    """The message that has the id of an earlier one, and another content."""

    @property
    def topics(self) -> list[str]:
        return [f"{self.prefix}{topic}" for topic in TOPICS]


class Telling:
    """Puts messages on topics of the test's own, and writes down what readers are to do."""

    def __init__(self, told: Told, registry: Registry) -> None:
        self.told = told
        self._registry = registry
        self._producer = Producer(
            {**told.cluster.librdkafka(), "transactional.id": uuid.uuid4().hex, "partitioner": "murmur2_random"}
        )
        self._producer.init_transactions(30)

    def event(self, word: str, topic: str, schema: SchemaSpec, event: Json, *, key: str | None = None) -> None:
        """An event as it is written with a version of the topic's schema."""
        name = str(event["share_id"]) if key is None else key
        schema_id = self._registry.lookup(f"{topic}-value", schema.text)
        assert schema_id is not None
        value = io.BytesIO()
        value.write(struct.pack(">bI", 0, schema_id))
        schemaless_writer(value, schema.parsed, event)
        ce_id = self._send(topic, name, value.getvalue(), str(event.get("work_key", event["share_id"])))
        if word == "odd":
            self._says("odd", topic, "-")
        elif word != "never":
            self._says(word, topic, name)
            self.told.kept[f"{self.told.prefix}{topic}/{name}"] = {"ce_id": ce_id, "event": _as_avro(event)}

    def tombstone(self, word: str, topic: str, share_id: str) -> None:
        """The share was deleted."""
        self._send(topic, share_id, None, "deleted")
        self._says(word, topic, share_id)
        self.told.kept.pop(f"{self.told.prefix}{topic}/{share_id}", None)

    def begin(self) -> None:
        self._producer.begin_transaction()

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.flush(30)
        self._producer.abort_transaction(30)

    def _says(self, word: str, topic: str, key: str) -> None:
        self.told.said[Said(word, f"{self.told.prefix}{topic}", key)] += 1

    def _send(self, topic: str, key: str, value: bytes | None, work: str) -> str:
        ce_id = ids.event_id(topic, key, work)
        now = datetime.now(UTC)
        with_it = headers(topic, ce_id, source="test", subject=key, time=now, traceparent=new_trace())
        self._producer.produce(f"{self.told.prefix}{topic}", value, key.encode(), headers=list(with_it))
        return ce_id


def _as_avro(value: object) -> Json:
    """As JSON with times in milliseconds, as they are in Avro."""
    plain = json.dumps(value, default=lambda moment: round(moment.timestamp() * 1000))
    found: Json = json.loads(plain)
    return found


def _examples(schema: SchemaSpec) -> list[Json]:
    """The golden examples of a schema's version, as records of that version."""
    names = [field["name"] for field in json.loads(schema.text)["fields"]]
    found = []
    for example in CATALOG.examples:
        if (example.schema.name, example.schema.version) == (schema.name, schema.version):
            event = schema.event_type.model_validate_json(example.text).model_dump()
            found.append({name: event[name] for name in names})
    assert found, schema
    return found


def tell(told: Told) -> None:
    """Put the whole story on the topics; see the comments."""
    with Registry(told.registry) as registry:
        telling = Telling(told, registry)
        telling.begin()
        for topic in TOPICS:
            _story(telling, topic)
        telling.commit()
        telling.begin()  # of a transaction that is aborted: never was
        schema = CATALOG.written_schema_for("summary.ready")
        telling.event("never", "summary.ready", schema, _examples(schema)[0] | {"share_id": str(uuid.uuid4())})
        telling.abort()


def _story(telling: Telling, topic: str) -> None:
    for schema in CATALOG.subjects()[f"{topic}-value"]:  # readers of today read what was written years ago
        for event in _examples(schema):
            share = {"share_id": str(uuid.uuid4())}
            telling.event("kept", topic, schema, event | share)
            telling.event("known", topic, schema, event | share)  # told again, after a crash or by a replay
    event = _examples(schema)[0]
    # A share that is deleted; the tombstone is repeated, and comes for one that nobody has heard of, too.
    deleted = str(uuid.uuid4())
    telling.event("kept", topic, schema, event | {"share_id": deleted})
    telling.tombstone("removed", topic, deleted)
    telling.tombstone("absent", topic, deleted)
    telling.tombstone("absent", topic, str(uuid.uuid4()))
    # Done once more by force: the same work has the same id, and what comes of it holds.
    if topic == "summary.ready":
        redone = {"share_id": str(uuid.uuid4())}
        telling.event("kept", topic, schema, event | redone)
        telling.event(
            "kept", topic, schema, event | redone | {"summary": "Another one. \u201c\u00e9\U0001f600\u201d"}
        )
        telling.told.redone = Said("kept", f"{telling.told.prefix}{topic}", redone["share_id"])
        for key in ("../../outside", f"{deleted}\t-1\tce_id=1", f"{deleted}\n{deleted}", ""):
            telling.event("odd", topic, schema, event, key=key)


def read(
    told: Told, program: Sequence[str | Path], folder: Path, group: str, user: Mapping[str, str] | None = None
) -> Counter[Said]:
    """Run a reader until the end; what it says.

    :param user: who it is to Kafka, as settings.
    """
    places = {"MILLRACE_KAFKA": told.cluster.address, "MILLRACE_REGISTRY": told.registry, "GROUP": group}
    ended = subprocess.run(
        [*program, folder, *told.topics],
        env={**os.environ, **places, **(user or {})},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    return Counter(Said(*line.split(" ", 2)) for line in ended.stdout.splitlines())


def files(folder: Path) -> dict[str, Json]:
    """What a reader has kept, by topic and key."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            found[str(file.relative_to(folder).with_suffix(""))] = json.loads(file.read_text(encoding="utf-8"))
    return found


def compiled_java(classes: Path) -> Sequence[str | Path]:
    """The Java reader, compiled against what its pom.xml names."""
    libraries = os.pathsep.join(map(str, fetch_jars("reader")))
    (compiler,) = fetch_jars("compiler")  # Eclipse's, as a runtime of Java has none
    program = find_java().executable
    sources = sorted(JAVA.rglob("*.java"))
    ended = subprocess.run(
        [program, "-jar", compiler, "-17", "-cp", libraries, "-d", classes, *sources],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    return (program, "-cp", f"{classes}{os.pathsep}{libraries}", _MAIN, "--end")


def without_values(told: Told) -> tuple[Counter[Said], dict[str, Json]]:
    """What a reader says and keeps that cannot see that an event with a known id has another content."""
    assert told.redone is not None
    said = told.said - Counter([told.redone]) + Counter([told.redone._replace(word="known")])
    return said, {name: {"ce_id": kept["ce_id"]} for name, kept in told.kept.items()}
