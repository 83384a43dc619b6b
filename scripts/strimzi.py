"""Writes deploy/strimzi/topics.yaml and users.yaml from the catalogue and its rights: `python scripts/strimzi.py`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml

from millrace.contracts.acls import Grant, grants, users
from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import PRODUCTION_REPLICATION, wanted_config
from millrace.contracts.topics import TopicSpec

FOLDER: Final = Path(__file__).parent.parent / "deploy" / "strimzi"
CLUSTER: Final = "millrace"
SCALER: Final = "keda"
"""Asks how far the agents are behind, to scale them."""

_HEAD: Final = "# Written by `python scripts/strimzi.py` from schemas/topics.yaml; a test compares.\n"
_RESOURCES: Final = {"topic": "topic", "group": "group", "transactional-id": "transactionalId"}
_OPERATIONS: Final = {
    "read": "Read",
    "write": "Write",
    "describe": "Describe",
    "describe-configs": "DescribeConfigs",
}
Document = dict[str, Any]


def topic(spec: TopicSpec) -> Document:
    """A topic as Strimzi makes it; names of Kubernetes have no underscores."""
    document = _document("KafkaTopic", re.sub(r"[^a-z0-9.-]", "-", spec.name))
    document["spec"] = {
        "topicName": spec.name,
        "partitions": spec.partitions,
        "replicas": PRODUCTION_REPLICATION,
        "config": dict(sorted(wanted_config(spec, PRODUCTION_REPLICATION).items())),
    }
    return document


def user(name: str, granted: Iterable[Grant]) -> Document:
    """A user with its rights. Without any it is for the brokers' list of super users."""
    document = _document("KafkaUser", name)
    document["spec"] = {"authentication": {"type": "scram-sha-512"}}
    operations: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for grant in granted:
        pattern = "prefix" if grant.prefixed else "literal"
        operations[_RESOURCES[grant.resource], grant.name, pattern].append(_OPERATIONS[grant.operation])
    if operations:
        acls = [
            {"resource": {"type": kind, "name": named, "patternType": pattern}, "operations": sorted(allowed)}
            for (kind, named, pattern), allowed in sorted(operations.items())
        ]
        document["spec"]["authorization"] = {"type": "simple", "acls": acls}
    return document


def scaler(catalog: Catalog) -> Iterator[Grant]:
    """What KEDA may do: see where the agents' groups and their topics are, and read nothing."""
    yield Grant(SCALER, "group", "millrace-", "describe", prefixed=True)
    # Its client asks for all topics; those it may not see are left out of the answer.
    agents = {f"{stage}-agent" for stage in catalog.stages}
    read = {grant.name for grant in grants(catalog) if grant.user in agents and grant.operation == "read"}
    yield from (Grant(SCALER, "topic", name, "describe") for name in sorted(read & catalog.topics.keys()))


def files(catalog: Catalog) -> Mapping[str, str]:
    """The text of each file, by name."""
    everybody = sorted({*users(catalog), SCALER})
    granted = [*grants(catalog), *scaler(catalog)]
    return {
        "topics.yaml": _text(topic(spec) for spec in catalog.topics.values()),
        "users.yaml": _text(user(name, (grant for grant in granted if grant.user == name)) for name in everybody),
    }


def _document(kind: str, name: str) -> Document:
    metadata = {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}}
    return {"apiVersion": "kafka.strimzi.io/v1", "kind": kind, "metadata": metadata}


def _text(documents: Iterable[Document]) -> str:
    written = (yaml.safe_dump(document, sort_keys=False, width=118) for document in documents)
    return "---\n".join(chain([_HEAD + next(written)], written))


def main() -> None:
    """Write them."""
    for name, text in files(Catalog.load(more=[])).items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
