"""`millrace topics` and `millrace schemas`: what a cluster and a registry must hold, applied and checked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli import exits
from millrace.cli.exits import one_sentence
from millrace.cluster import Cluster
from millrace.contracts import compat
from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import changes
from millrace.contracts.folders import contracts_folders, schemas_root
from millrace.contracts.provision import apply_topics, check_schemas, describe_topics, register_schemas
from millrace.contracts.registry import without_credentials
from millrace.contracts.topics import TopicSpec
from millrace.errors import ConfigurationError
from millrace.settings import ClusterSettings
from millrace.startup import load_settings

topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics, as schemas/topics.yaml declares them.")
schemas_app = typer.Typer(no_args_is_help=True, help="Avro schemas and the registry that holds them.")

KafkaOption = Annotated[
    str | None, typer.Option("--kafka", envvar="MILLRACE_KAFKA", help="Bootstrap address, host:port")
]
RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", envvar="MILLRACE_REGISTRY", help="Base URL of the registry's Confluent API"),
]
ReplicationOption = Annotated[
    int | None,
    typer.Option(
        "--replication",
        envvar="MILLRACE_REPLICATION",
        min=1,
        help="Replicas of every topic; 3 also asks that two of them have a message before it counts",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


@topics_app.command("apply")
def apply(kafka: KafkaOption = None, replication: ReplicationOption = None, as_json: JsonOption = False) -> None:
    """Create missing topics and mend their settings; run it as often as you like, nothing is ever deleted."""
    with one_sentence():
        cluster = _cluster(_required(kafka, "Kafka", "--kafka HOST:PORT", "MILLRACE_KAFKA"))
        catalog = Catalog.load()
        lines = _Lines(quiet=as_json)
        done = asyncio.run(apply_topics(cluster, catalog, replication=replication, report=lines))
    lines.end(f"{len(catalog.topics)} topics as declared, {len(done)} of them changed.", topics=len(catalog.topics))


@topics_app.command("list")
def list_topics(kafka: KafkaOption = None, as_json: JsonOption = False) -> None:
    """List the declared topics; with a cluster's address, also how each stands there."""
    with one_sentence():
        specs = list(Catalog.load().topics.values())
        states = _states(_cluster(kafka), specs) if kafka else {}
    if as_json:
        typer.echo(json.dumps([_as_json(spec, states.get(spec.name)) for spec in specs], indent=2))
        return
    width = max(len(spec.name) for spec in specs)
    for spec in specs:
        state = f"  {states[spec.name]}" if states else ""
        typer.echo(f"{spec.name:<{width}}  {spec.schema_ref!s:<20}  {_kept(spec):<8}{state}".rstrip())


@schemas_app.command("register")
def register(registry: RegistryOption = None, as_json: JsonOption = False) -> None:
    """Register every version of every schema and hold the subjects to FULL_TRANSITIVE; idempotent."""
    with one_sentence():
        url = _required(registry, "the schema registry", "--registry URL", "MILLRACE_REGISTRY")
        catalog = Catalog.load()
        lines = _Lines(quiet=as_json)
        new = register_schemas(url, catalog, lines)
    subjects = len(catalog.subjects())
    lines.end(f"{subjects} subjects at {without_credentials(url)}, {new} new versions.", subjects=subjects)


@schemas_app.command("check")
def check(registry: RegistryOption = None, as_json: JsonOption = False) -> None:
    """Check that all versions are compatible, frozen ones unchanged and examples readable; ends 1 if not.

    With a registry, also that it would take what is not registered yet.
    """
    with one_sentence():
        catalog = Catalog.load()
        found = check_schemas(catalog, registry)
    versions = sum(map(len, catalog.schemas.values()))
    if as_json:
        typer.echo(json.dumps({"versions": versions, "examples": len(catalog.examples), "problems": found}, indent=2))
    else:
        for problem in found:
            typer.echo(problem, err=True)
        if not found:
            typer.echo(f"{versions} schemas and {len(catalog.examples)} examples are sound.")
    if found:
        raise typer.Exit(exits.FAILED)


@schemas_app.command("freeze")
def freeze(as_json: JsonOption = False) -> None:
    """Write the hashes of new versions to schemas/frozen.json; those that are there stay as they are."""
    with one_sentence():
        catalog = Catalog.load()
        hashes = compat.freeze(catalog)
        new = sorted(hashes.keys() - catalog.frozen.keys())
        for folder in (schemas_root(), *contracts_folders()):
            _write_frozen(folder, hashes)
    typer.echo(json.dumps({"frozen": new}) if as_json else f"Frozen: {', '.join(new) or 'nothing new'}.")


def _write_frozen(folder: Path, hashes: Mapping[str, str]) -> None:
    file = folder / "frozen.json"
    try:
        known = set(json.loads(file.read_text())) if file.exists() else set()
        here = {name for name in hashes if name in known or (folder / "avro" / f"{name}.avsc").exists()}
        own = {name: value for name, value in hashes.items() if name in here}
        file.write_text(json.dumps(own, indent=2) + "\n")
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be written: {exc.strerror}.") from exc


class _Lines:
    """Prints what is reported, or keeps it for one JSON document."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        self._lines.append(line)
        if not self._quiet:
            typer.echo(line)

    def end(self, sentence: str, **counts: int) -> None:
        typer.echo(json.dumps({**counts, "done": self._lines}, indent=2) if self._quiet else sentence)


def _required(value: str | None, what: str, option: str, variable: str) -> str:
    if not value:
        raise ConfigurationError(f"Say where {what} is, with {option} or {variable}.")
    return value


def _cluster(address: str) -> Cluster:
    """Kafka there, with what the environment says of TLS and of who one is."""
    return load_settings(ClusterSettings, kafka=address).cluster


def _states(kafka: Cluster, specs: Sequence[TopicSpec]) -> dict[str, str]:
    actual = describe_topics(kafka, [spec.name for spec in specs])
    states = {spec.name: "ok" for spec in specs}
    for spec in specs:
        found = changes([spec], actual)
        if found:
            states[spec.name] = "; ".join(str(change).removeprefix(f"{spec.name}: ") for change in found)
    return states


def _kept(spec: TopicSpec) -> str:
    return "compact" if spec.cleanup == "compact" else f"{spec.retention_ms // 86_400_000} d"


def _as_json(spec: TopicSpec, state: str | None) -> dict[str, str | int | None]:
    return {
        "name": spec.name,
        "doc": spec.doc,
        "key": spec.key,
        "schema": str(spec.schema_ref),
        "partitions": spec.partitions,
        "kept": _kept(spec),
        "owner": spec.owner,
        "state": state,
    }
