"""Documents of Kubernetes: what is wrong with them by their schemas, and by the rules of this project. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import jsonschema_rs
import yaml

Document: TypeAlias = dict[str, Any]

_VENDORED: Final = Path(__file__).parent.parent / "contract" / "vendored"
_WORKLOADS: Final = ("Deployment", "Job", "CronJob")
_SERVING: Final = ("Deployment",)
_SECRET_NAMES: Final = ("PASSWORD", "SECRET", "API_KEY", "ACCESS_KEY", "ACCESS_KEY_ID", "TOKEN", "POSTGRES")
Labels: TypeAlias = Mapping[str, str]


class Pod(NamedTuple):
    """What a workload makes: `name` as in Deployment/millrace-api-gateway."""

    name: str
    labels: Labels
    spec: Document


def documents(text: str) -> list[Document]:
    """The documents of a YAML text."""
    return [document for document in yaml.safe_load_all(text) if document is not None]


@cache
def _validator(api_version: str, kind: str) -> jsonschema_rs.Draft7Validator | None:
    core = json.loads((_VENDORED / "kubernetes" / "kinds.json").read_text())
    name = core["kinds"].get(f"{api_version}/{kind}")
    if name is not None:
        return jsonschema_rs.Draft7Validator({"$ref": f"#/$defs/{name}", "$defs": core["$defs"]})
    for file in _VENDORED.glob(f"*/{kind}.json"):
        return jsonschema_rs.Draft7Validator(json.loads(file.read_text()))
    return None


def schema_problems(document: Document) -> Iterator[str]:
    """What the API server would say of it under `fieldValidation=Strict`, but for rules in CEL."""
    named = f"{document.get('kind')}/{document['metadata']['name']}"
    validator = _validator(str(document.get("apiVersion")), str(document.get("kind")))
    if validator is None:
        yield f"{named}: there is no schema of {document.get('apiVersion')}"
        return
    for error in validator.iter_errors(document):
        yield f"{named}: {'.'.join(map(str, error.instance_path))}: {error.message[:200]}"


def pods(found: Iterable[Document]) -> Iterator[Pod]:
    """What the workloads among the documents make."""
    for document in found:
        if document["kind"] in _WORKLOADS:
            spec = document["spec"]
            template = spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]
            name = f"{document['kind']}/{document['metadata']['name']}"
            yield Pod(name, template["metadata"]["labels"], template["spec"])


def containers(pod: Pod) -> list[Document]:
    """All containers of a pod."""
    return [*pod.spec.get("initContainers", ()), *pod.spec["containers"]]


def policy_problems(found: Iterable[Document]) -> Iterator[str]:
    """What breaks the project's rules: root, writable roots, capabilities, secrets, missing limits and probes."""
    for pod in pods(found):
        yield from (f"{pod.name}: {problem}" for problem in _pod_problems(pod))
        for container in containers(pod):
            yield from (f"{pod.name}: {container['name']}: {problem}" for problem in _container_problems(container))
            if pod.name.startswith(_SERVING):
                yield from (f"{pod.name}: {problem}" for problem in _probe_problems(container))


def _pod_problems(pod: Pod) -> Iterator[str]:
    security = pod.spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) == 0:
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "any system call"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "has a token of Kubernetes"
    if pod.spec.get("serviceAccountName", "default") == "default":
        yield "has the account that everybody has"
    if pod.spec.get("enableServiceLinks") is not False:
        yield "has variables of services around it"
    for danger in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.spec.get(danger):
            yield danger
    for volume in pod.spec.get("volumes", ()):
        if "hostPath" in volume:
            yield f"has the node's {volume['hostPath']['path']}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{volume['name']} grows without limit"


def _container_problems(container: Document) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("readOnlyRootFilesystem") is not True:
        yield "has a root that it can write to"
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "may get more rights"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities"
    for kind in ("requests", "limits"):
        missing = {"cpu", "memory"} - set(container.get("resources", {}).get(kind, ()))
        if missing:
            yield f"{kind} of {', '.join(sorted(missing))} are missing"
    image = container["image"]
    if "@sha256:" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
        yield f"{image} is no pinned version"
    for variable in container.get("env", ()):
        if "value" in variable and variable["name"].endswith(_SECRET_NAMES):
            yield f"{variable['name']} stands there for all to read"


def _probe_problems(container: Document) -> Iterator[str]:
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container.get(probe, {}).get("httpGet", {})
        ports = {port["name"] for port in container.get("ports", ())}
        if asked.get("path") != path or asked.get("port") not in ports:
            yield f"its {probe} does not ask {path} of a port that it has"


def secret_problems(found: Iterable[Document]) -> Iterator[str]:
    """What might be a secret's value in a document; secrets are referred to by name."""
    for document in found:
        named = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Secret":
            yield f"{named} is a secret itself"
        if document["kind"] == "ConfigMap":
            yield from (f"{named}: {key}" for key in document["data"] if key.upper().endswith(_SECRET_NAMES))
        for _, value in _texts(document):
            if "://" in value and "@" in value.partition("://")[2].partition("/")[0]:
                yield f"{named} has a URL with a password"


def selector_problems(found: list[Document]) -> Iterator[str]:
    """Selectors that select no pod, and pods that none protects: budgets of disruption and network policies."""
    made = list(pods(found))
    for document in found:
        selector = _selector(document)
        if selector is not None and not any(_selects(selector, pod.labels) for pod in made):
            yield f"{document['kind']}/{document['metadata']['name']} selects no pod"
    for pod in made:
        for kind in ("NetworkPolicy", *(("PodDisruptionBudget",) if pod.name.startswith(_SERVING) else ())):
            protecting = [_selector(document) for document in found if document["kind"] == kind]
            if not any(selector is not None and _selects(selector, pod.labels) for selector in protecting):
                yield f"{pod.name} has no {kind}"


def _selector(document: Document) -> Labels | None:
    """Which pods a document is about."""
    spec = document.get("spec", {})
    match document["kind"]:
        case "Service":
            return dict(spec["selector"])
        case "PodDisruptionBudget" | "Deployment":
            return dict(spec["selector"]["matchLabels"])
        case "NetworkPolicy":
            return dict(spec["podSelector"]["matchLabels"])
        case "PodMonitor" if "matchExpressions" not in spec["selector"]:
            return dict(spec["selector"]["matchLabels"])
    return None


def _selects(selector: Labels, labels: Labels) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def _texts(node: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, f"{path}.{name}")
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, path)
    elif isinstance(node, str):
        yield path, node
