"""deploy/helm: what the chart makes of several values is valid, keeps the project's rules and fits the code."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

import millrace
from millrace.certificates import Authority
from millrace.cli.contracts import ReplicationOption
from millrace.cli.main import app
from millrace.contracts.catalog import Catalog
from millrace.ledger.topics import REQUESTS
from millrace.settings import ClusterSettings, CoreSettings
from scripts.configuration import variables
from services.api_gateway.routes import ops
from services.api_gateway.settings import GatewaySettings
from services.cost_ledger.settings import LedgerSettings
from services.embed_agent.app import AGENT as EMBED
from services.embed_agent.settings import EmbedSettings
from services.media_agent.app import AGENT as MEDIA
from services.media_agent.settings import MediaSettings
from services.summarize_agent.app import AGENT as SUMMARIZE
from services.summarize_agent.settings import SummarizeSettings
from services.transcribe_agent.app import AGENT as TRANSCRIBE
from services.transcribe_agent.settings import TranscribeSettings
from tests.support.manifests import (
    Document,
    Pod,
    containers,
    documents,
    pods,
    policy_problems,
    schema_problems,
    secret_problems,
    selector_problems,
)
from tests.support.tools import tool

CHART: Final = Path(__file__).parent.parent.parent / "deploy" / "helm" / "millrace"
VALUES: Final = ("default", *sorted(file.stem for file in (CHART / "ci").glob("*.yaml")))
OLDEST: Final = "1.30.0"
SETTINGS: Final[Mapping[str, type[BaseSettings]]] = {
    "media-agent": MediaSettings,
    "transcribe-agent": TranscribeSettings,
    "transcribe-agent-gpu": TranscribeSettings,
    "summarize-agent": SummarizeSettings,
    "embed-agent": EmbedSettings,
    "cost-ledger": LedgerSettings,
    "cost-ledger-admission": LedgerSettings,
    "api-gateway": GatewaySettings,
}
SPECS: Final = {
    "media-agent": MEDIA.spec,
    "transcribe-agent": TRANSCRIBE.spec,
    "summarize-agent": SUMMARIZE.spec,
    "embed-agent": EMBED.spec,
}
_rendered: dict[tuple[str, ...], str] = {}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What helm answers, once for the same question."""
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, check=False, timeout=60)


def asked(values: str, *more: str) -> tuple[str, ...]:
    files = () if values == "default" else ("--values", str(CHART / "ci" / f"{values}.yaml"))
    return ("template", "millrace", str(CHART), "--namespace", "ml", "--kube-version", OLDEST, *files, *more)


def chart(values: str = "default", *more: str) -> list[Document]:
    """What the chart makes with a file of deploy/helm/millrace/ci."""
    question = asked(values, *more)
    if question not in _rendered:
        answer = helm(*question)
        assert answer.returncode == 0, answer.stderr
        _rendered[question] = answer.stdout
    return documents(_rendered[question])


def one(found: list[Document], kind: str, name: str) -> Document:
    """The document of that name."""
    return next(each for each in found if each["kind"] == kind and each["metadata"]["name"] == f"millrace-{name}")


def component(pod: Pod) -> str:
    return pod.labels["app.kubernetes.io/component"]


@pytest.fixture(params=VALUES)
def rendered(request: pytest.FixtureRequest) -> list[Document]:
    return chart(request.param)


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_wrong(values: str) -> None:
    _, _, path, _, _, *rest = asked(values)
    answer = helm("lint", path, "--strict", *rest)
    assert answer.returncode == 0, answer.stdout


def test_documents_are_what_kubernetes_and_its_operators_take(rendered: list[Document]) -> None:
    assert [problem for document in rendered for problem in schema_problems(document)] == []


def test_pods_have_no_rights_but_limits_and_probes(rendered: list[Document]) -> None:
    assert list(policy_problems(rendered)) == []


def test_no_document_has_a_secret_of_its_own(rendered: list[Document]) -> None:
    assert list(secret_problems(rendered)) == []


@pytest.mark.parametrize("values", sorted(set(VALUES) - {"without-keda"}))
def test_what_selects_pods_finds_them_and_each_pod_is_looked_after(values: str) -> None:
    assert list(selector_problems(chart(values))) == []


def test_names_are_unique_and_those_that_are_referred_to_exist(rendered: list[Document]) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in rendered]
    assert len(names) == len(set(names))
    wanted = {("ServiceAccount", pod.spec["serviceAccountName"]) for pod in pods(rendered)}
    for pod in pods(rendered):
        for volume in pod.spec["volumes"]:
            if "configMap" in volume:
                wanted.add(("ConfigMap", volume["configMap"]["name"]))
        for container in containers(pod):
            wanted |= {("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", ())}
    for document in rendered:
        if document["kind"] == "ScaledObject":
            wanted.add(("Deployment", document["spec"]["scaleTargetRef"]["name"]))
    assert wanted - set(names) == set()


def _without(*path: str | int) -> Callable[[Any], None]:
    def remove(document: Any) -> None:  # noqa: ANN401 - whatever YAML holds
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return remove


POD: Final = ("spec", "template", "spec")
FIRST: Final = (*POD, "containers", 0)


@pytest.mark.parametrize(
    "removed",
    [
        (*POD, "securityContext", "runAsNonRoot"),
        (*POD, "securityContext", "seccompProfile"),
        (*POD, "automountServiceAccountToken"),
        (*POD, "serviceAccountName"),
        (*POD, "enableServiceLinks"),
        (*POD, "volumes", 0, "emptyDir", "sizeLimit"),
        (*FIRST, "securityContext", "readOnlyRootFilesystem"),
        (*FIRST, "securityContext", "allowPrivilegeEscalation"),
        (*FIRST, "securityContext", "capabilities"),
        (*FIRST, "resources", "limits", "memory"),
        (*FIRST, "resources", "requests"),
        (*FIRST, "startupProbe"),
        (*FIRST, "livenessProbe"),
        (*FIRST, "readinessProbe", "httpGet", "path"),
        (*FIRST, "ports", 0, "name"),
    ],
    ids=lambda path: ".".join(map(str, path[3:])),
)
def test_the_rules_find_what_is_missing(removed: tuple[str | int, ...]) -> None:
    broken = copy.deepcopy(one(chart(), "Deployment", "media-agent"))
    if removed[-1] == "name":
        broken["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] = "other"
    else:
        _without(*removed)(broken)
    assert list(policy_problems([broken])) != []


def test_the_rules_find_secrets_and_pods_that_nobody_looks_after() -> None:
    found = copy.deepcopy(chart())
    deployment = one(found, "Deployment", "api-gateway")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    environment.append({"name": "MILLRACE_KAFKA_PASSWORD", "value": "x"})
    assert any("MILLRACE_KAFKA_PASSWORD" in problem for problem in policy_problems(found))
    one(found, "ConfigMap", "api-gateway")["data"]["X"] = "postgresql://me:secret@here/there"
    assert any("ConfigMap/millrace-api-gateway" in problem for problem in secret_problems(found))
    deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] = "gateway"
    missing = list(selector_problems(found))
    assert "PodDisruptionBudget/millrace-api-gateway selects no pod" in missing
    assert "Deployment/millrace-api-gateway has no PodDisruptionBudget" in missing


def test_the_schemas_find_what_kubernetes_does_not_know() -> None:
    broken = copy.deepcopy(one(chart(), "Deployment", "media-agent"))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert len(list(schema_problems(broken))) == 1
    scaled = copy.deepcopy(one(chart(), "ScaledObject", "media-agent"))
    scaled["spec"]["minReplicas"] = 1
    assert len(list(schema_problems(scaled))) == 1


# What the chart says about the code


def environment_of(found: list[Document], container: Document) -> dict[str, str]:
    """What a container is told; secrets are stood in for."""
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        told |= one(found, "ConfigMap", source["configMapRef"]["name"].removeprefix("millrace-"))["data"]
    for variable in container["env"]:
        told[variable["name"]] = variable.get("value", "postgresql://stands-in-for-a-secret-of-32-bytes/x")
    return told


def _known(settings: type[BaseSettings]) -> set[str]:
    return {
        name.strip("` ") for key, field in settings.model_fields.items() for name in variables(key, field).split(",")
    }


def test_services_know_every_variable_and_take_its_value(
    rendered: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority("of a test", datetime.now(UTC), timedelta(days=1)).certificate)
    for pod in pods(rendered):
        settings = SETTINGS.get(component(pod))
        if settings is None:
            continue
        told = environment_of(rendered, pod.spec["containers"][0])
        if "MILLRACE_KAFKA_CA" in told:
            mounts = {mount["mountPath"] for mount in pod.spec["containers"][0]["volumeMounts"]}
            assert str(Path(told["MILLRACE_KAFKA_CA"]).parent) in mounts, pod.name
            told["MILLRACE_KAFKA_CA"] = str(ca)
        assert told.keys() - _known(settings) == set(), pod.name
        with monkeypatch.context() as environment:
            for name in _known(settings):
                environment.delenv(name, raising=False)
            for name, value in told.items():
                environment.setenv(name, value)
            settings()


def test_the_setup_runs_commands_that_there_are_with_variables_that_they_know(rendered: list[Document]) -> None:
    (pod,) = (pod for pod in pods(rendered) if component(pod) == "setup")
    known = _known(CoreSettings) | _known(ClusterSettings) | {ReplicationOption.__metadata__[0].envvar}  # type: ignore[attr-defined]
    commands = []
    for container in containers(pod):
        assert environment_of(rendered, container).keys() - known == set()
        program, *command = container["command"]
        assert program == "millrace"
        commands.append(tuple(command))
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command
    assert commands[-1] == ("database", "migrate")
    assert {("topics", "apply"), ("schemas", "register")} <= set(commands)


def test_probes_ask_what_services_answer() -> None:
    served = {getattr(route, "path", None) for route in ops.router.routes}
    assert {"/healthz", "/readyz", "/metrics"} <= served  # of workers: tests/unit/telemetry


def test_no_more_workers_than_partitions(rendered: list[Document]) -> None:
    topics = Catalog.load(more=[]).topics
    for name, spec in SPECS.items():
        most = min(topics[topic].partitions for topic in spec.topics)
        for document in rendered:
            if document["metadata"]["name"] in {f"millrace-{name}", f"millrace-{name}-gpu"}:
                spec_of = document.get("spec", {})
                assert spec_of.get("replicas", 1) <= most
                assert spec_of.get("maxReplicaCount", 1) <= most
    ledger = one(rendered, "Deployment", "cost-ledger")
    assert ledger["spec"]["replicas"] <= topics[REQUESTS].partitions
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["kafka"]["partitions"] == min(topics[topic].partitions for topic in ("share.created", REQUESTS))


def test_agents_are_scaled_on_the_lag_of_their_own_group() -> None:
    found = chart("everything")
    groups = {
        each["metadata"]["name"].removeprefix("millrace-"): each["spec"]["triggers"][0]["metadata"]["consumerGroup"]
        for each in found
        if each["kind"] == "ScaledObject"
    }
    expected = {name: spec.group for name, spec in SPECS.items()}
    assert groups == {**expected, "transcribe-agent-gpu": replace(TRANSCRIBE.spec, local=True).group}


def test_a_scaled_deployment_leaves_its_number_to_its_scaler(rendered: list[Document]) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in rendered if each["kind"] == "ScaledObject"}
    for document in rendered:
        if document["kind"] == "Deployment":
            assert ("replicas" not in document["spec"]) == (document["metadata"]["name"] in scaled)


def test_a_pod_has_the_time_to_stop_in() -> None:
    for pod in pods(chart("everything")):
        if component(pod) not in SETTINGS:
            continue
        config = one(chart("everything"), "ConfigMap", component(pod))["data"]
        # The gateway ends requests for 10 s and its outbox for 5; before that it is taken out of its service.
        drains = float(config.get("MILLRACE_DRAIN_S", 10 + 5 + 5))
        assert pod.spec["terminationGracePeriodSeconds"] >= drains + 10, pod.name


def test_the_agents_with_and_without_a_gpu_share_the_work() -> None:
    found = chart("gpu")
    gpu = one(found, "Deployment", "transcribe-agent-gpu")["spec"]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu["tolerations"]
    assert gpu["nodeSelector"]
    works = {name: one(found, "ConfigMap", name)["data"] for name in ("transcribe-agent", "transcribe-agent-gpu")}
    assert works["transcribe-agent"]["MILLRACE_WORKS_ON"] == "api"
    assert works["transcribe-agent-gpu"]["MILLRACE_WORKS_ON"] == "local"
    plain = chart()
    assert not any("gpu" in str(document) for document in plain)
    assert "MILLRACE_WORKS_ON" not in one(plain, "ConfigMap", "transcribe-agent")["data"]


def test_a_managed_kafka_is_a_matter_of_values() -> None:
    for pod in pods(chart("managed-kafka")):
        told = {variable["name"]: variable for variable in containers(pod)[0]["env"]}
        assert told["MILLRACE_KAFKA"]["value"].startswith("broker-1.kafka.example.com:9096,")
        assert told["MILLRACE_KAFKA_USER"]["value"] == "millrace"
        assert told["MILLRACE_KAFKA_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "kafka-user"
        assert "MILLRACE_KAFKA_CA" not in told
        assert not any(volume["name"] == "kafka-ca" for volume in pod.spec["volumes"])


def test_the_chart_is_of_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == millrace.__version__


def test_an_image_goes_by_its_digest_if_there_is_one() -> None:
    digest = "sha256:" + "0" * 64
    found = chart("default", "--set", f"image.digests.cost-ledger={digest}", "--set", "image.registry=example.com")
    images = {component(pod): pod.spec["containers"][0]["image"] for pod in pods(found)}
    assert images["cost-ledger"] == f"example.com/millrace/cost-ledger@{digest}"
    assert images["api-gateway"].startswith("example.com/millrace/api-gateway:")


def test_only_the_media_agent_reaches_any_web_server_and_nobody_a_private_address() -> None:
    found = chart()
    for document in found:
        if document["kind"] != "NetworkPolicy":
            continue
        rules = document["spec"].get("egress", [])
        ports = {port["port"] for rule in rules for port in rule["ports"]}
        assert (80 in ports) == (document["metadata"]["name"] == "millrace-media-agent")
        for block in (peer["ipBlock"] for rule in rules for peer in rule.get("to", ()) if "ipBlock" in peer):
            if block["cidr"] == "0.0.0.0/0":
                assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block["except"])


REFUSED: Final = {
    "services.media-agent.replicas=5,services.media-agent.scaling.enabled=false": "kafka.partitions",
    "services.media-agent.scaling.max=5": "kafka.partitions",
    "services.cost-ledger.replicas=5": "kafka.partitions",
    "services.media-agent.scaling.costAware=true": "it spends no money",
    "services.media-agent.scaling.min=0": "minimum",
    "keda.coolDownSeconds=300": "coolDownSeconds",
    "services.media-agent.resources.limits.memory=null": "memory",
    "signIn.existingSecret=": "MILLRACE_JWKS_URL",
    "services.media-agent.settings.MILLRACE_OPENAI_API_KEY=sk-x": "MILLRACE_OPENAI_API_KEY",
    "settings.MILLRACE_KAFKA_PASSWORD=x": "MILLRACE_KAFKA_PASSWORD",
    "registry.url=http://me:secret@registry:8081": "registry",
    "kafka.mechanism=PLAIN,kafka.tls=false": "tls",
    "storage.mode=s3": "storage.bucket",
    "setup.bucket=true": "storage.bucket",
    "image.tag=latest": "tag",
    "ingress.enabled=true": "ingress.host",
    "services.media-agnet.enabled=true": "media-agnet",
}


@pytest.mark.parametrize("values", REFUSED)
def test_values_that_cannot_work_are_refused_with_a_reason(values: str) -> None:
    answer = helm(*asked("default", "--set", values))
    assert answer.returncode != 0
    assert REFUSED[values] in answer.stderr


def _paths(values: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in {"resources", "settings"}:
            yield from _paths(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_the_readme_names_every_value() -> None:
    text = (CHART / "README.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    services = values.pop("services")
    named = [*_paths(values), *services, *{key for service in services.values() for key in service}]
    assert [name for name in named if f"`{name}`" not in text] == []
