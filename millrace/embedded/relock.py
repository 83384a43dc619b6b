"""Write artifacts.lock anew for the versions named here: `python -m millrace.embedded.relock` (maintainers)."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext

KAFKA = "4.1.2"
APICURIO = "2.6.13.Final"
_HEADER = "# package, coordinate, bytes, sha256; written by python -m millrace.embedded.relock\n"


def kafka_coordinates(context: MavenContext) -> list[str]:
    """The broker with what it needs at run time, its command-line tools, and a log4j binding for slf4j 1.7.

    Only kafka_2.13 is resolved as a tree. Resolving the binding beside it lets the dependency management of
    log4j's POM decide Kafka's own versions (kafka-clients became 3.8.0).
    """
    roots, tree = context.resolver.resolve([context.create_dependency(f"org.apache.kafka:kafka_2.13:{KAFKA}")])
    needed = [*roots, *(found for found in tree if found.scope in ("compile", "runtime"))]
    log4j = next(found.version for found in needed if found.artifactId == "log4j-core")
    extra = (f"org.apache.kafka:kafka-tools:{KAFKA}", f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}")
    return [
        *(f"{found.groupId}:{found.artifactId}:{found.version}:jar" for found in needed),
        *(f"{one}:jar" for one in extra),
    ]


def lock_lines(context: MavenContext, package: str, coordinates: Iterable[str]) -> list[str]:
    """Download each and describe it."""

    def describe(coordinate: str) -> str:
        group, name, version, *classifier, extension = coordinate.split(":")
        path = Path(
            context.project(group, name).at_version(version).artifact("".join(classifier), extension).resolve()
        )
        content = path.read_bytes()
        return f"{package} {coordinate} {len(content)} {hashlib.sha256(content).hexdigest()}"

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(describe, coordinates))


def main() -> None:
    """Resolve, download and write the lock beside this module."""
    with tempfile.TemporaryDirectory(prefix="millrace-relock-") as folder:
        context = MavenContext(repo_cache=Path(folder), local_repos=[], timeout=60)
        lines = lock_lines(context, "kafka", kafka_coordinates(context))
        lines += lock_lines(context, "registry", [f"io.apicurio:apicurio-registry-app:{APICURIO}:all:tar.gz"])
    Path(__file__).with_name("artifacts.lock").write_text(_HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(lines)} artifacts locked\n")


if __name__ == "__main__":
    main()
