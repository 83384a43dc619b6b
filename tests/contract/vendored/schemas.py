"""Makes the schemas of this folder: `python tests/contract/vendored/schemas.py --kubernetes DIR --crds FILE…`.

What is kept is upstream's own text without descriptions, and of Kubernetes only the kinds that Millrace has, with
what they refer to. README.md says where the files come from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import yaml

HERE: Final = Path(__file__).parent
KINDS: Final = {
    "v1/ConfigMap": "core.v1.ConfigMap",
    "v1/PersistentVolumeClaim": "core.v1.PersistentVolumeClaim",
    "v1/Service": "core.v1.Service",
    "v1/ServiceAccount": "core.v1.ServiceAccount",
    "apps/v1/Deployment": "apps.v1.Deployment",
    "batch/v1/CronJob": "batch.v1.CronJob",
    "batch/v1/Job": "batch.v1.Job",
    "networking.k8s.io/v1/Ingress": "networking.v1.Ingress",
    "networking.k8s.io/v1/NetworkPolicy": "networking.v1.NetworkPolicy",
    "policy/v1/PodDisruptionBudget": "policy.v1.PodDisruptionBudget",
}
OPERATORS: Final = {
    "kafka.strimzi.io": "strimzi",
    "keda.sh": "keda",
    "monitoring.coreos.com": "prometheus-operator",
}
Schema = dict[str, Any]


def without_descriptions(node: object) -> object:
    """The schema without what is written for people."""
    if isinstance(node, list):
        return [without_descriptions(item) for item in node]
    if isinstance(node, dict):
        return {
            name: without_descriptions(value)
            for name, value in node.items()
            # A property may be called so, too: it is a schema then, and no text.
            if name != "description" or not isinstance(value, str)
        }
    return node


def strict(node: object) -> object:
    """A CRD's schema as the API server reads it under `fieldValidation=Strict`: what it does not name is an error."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: strict(value) for name, value in node.items()}
    # Within oneOf and the like there are no types, and fields that are named elsewhere.
    if (
        schema.get("type") == "object"
        and isinstance(schema.get("properties"), dict)
        and not (node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node)
    ):
        schema["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string") is True:
        schema |= {"type": ["integer", "string"]}
        schema.pop("anyOf", None)
    return schema


def referred_to(node: object) -> Iterator[str]:
    """Names of definitions that a schema refers to."""
    if isinstance(node, list):
        for item in node:
            yield from referred_to(item)
    elif isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for value in node.values():
            yield from referred_to(value)


def kubernetes(folder: Path) -> Schema:
    """The kinds, and every definition that they need."""
    definitions = cast(Mapping[str, Schema], json.loads((folder / "_definitions.json").read_text())["$defs"])
    kinds = {kind: f"io.k8s.api.{name}" for kind, name in KINDS.items()}
    needed: dict[str, Schema] = {}
    waiting = list(kinds.values())
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = cast(Schema, without_descriptions(definitions[name]))
            waiting.extend(referred_to(definitions[name]))
    return {"kinds": kinds, "$defs": needed}


def resource(file: Path) -> tuple[Path, Schema]:
    """Where a CRD's schema goes, and the schema of its newest version."""
    crd = yaml.safe_load(file.read_text())
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    version = next(version for version in crd["spec"]["versions"] if version["storage"])
    schema = cast(Schema, strict(without_descriptions(version["schema"]["openAPIV3Schema"])))
    schema["properties"]["apiVersion"] = {"const": f"{group}/{version['name']}"}
    schema["properties"]["metadata"] = {"type": "object"}
    return HERE / OPERATORS[group] / f"{kind}.json", schema


def write(file: Path, schema: Schema) -> None:
    """One line: it is read by programs, and never mended by hand."""
    file.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kubernetes", type=Path, required=True, help="a folder v….-local-strict of kubernetes-validate"
    )
    parser.add_argument("--crds", type=Path, nargs="+", required=True, help="CustomResourceDefinitions, one a file")
    asked = parser.parse_args()
    write(HERE / "kubernetes" / "kinds.json", kubernetes(asked.kubernetes))
    for crd in asked.crds:
        write(*resource(crd))


if __name__ == "__main__":
    main()
