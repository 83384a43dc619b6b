"""deploy/image/Dockerfile: linted, a target for each service, with its packages and no more rights than it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import millrace
from scripts.image_parts import DOCKERFILE, imports, install, targets
from tests.support.compose_file import ROOT, services

TEXT: Final = DOCKERFILE.read_text()
TARGETS: Final = targets(TEXT)
BIN: Final = Path(sys.executable).parent


def test_hadolint_has_nothing_against_it() -> None:
    done = subprocess.run((BIN / "hadolint", DOCKERFILE), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_of_containers_pass_shellcheck() -> None:
    scripts = sorted((ROOT / "deploy" / "compose").rglob("*.sh"))
    assert len(scripts) == 3
    done = subprocess.run((BIN / "shellcheck", *scripts), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_service_has_a_target_that_runs_it() -> None:
    built = {name: one["build"]["target"] for name, one in services().items() if "build" in one}
    stages = set(re.findall(r"^FROM \S+ AS ([\w-]+)$", TEXT, re.MULTILINE))
    assert set(built.values()) <= stages
    modules = {name: target.module for name, target in TARGETS.items() if target.module}
    assert modules == {name: f"services.{name.replace('-', '_')}" for name in modules}
    assert modules.keys() == set(built.values()) - {"setup", "s3", "kafka", "transcribe-agent-gpu"}


def test_images_are_named_after_this_version() -> None:
    ours = {one["image"] for one in services().values() if one["image"].startswith("millrace/")}
    assert {image.rpartition(":")[2] for image in ours} == {millrace.__version__}
    assert f'org.opencontainers.image.version="{millrace.__version__}"' in TEXT


def test_no_target_that_is_run_is_root_or_has_tools_to_build_with() -> None:
    stages = re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]
    heads = {re.match(r"(\S+) AS (\S+)", stage): stage for stage in stages}
    parents = {head[2]: head[1] for head in heads if head}
    bodies = {head[2]: stage for head, stage in heads.items() if head}

    def line_of(name: str) -> list[str]:
        return [name, *line_of(parents[name])] if name in parents else []

    for name in {one["build"]["target"] for one in services().values() if "build" in one}:
        ancestors = line_of(name)
        assert "build" not in ancestors, name
        users = [
            user for stage in reversed(ancestors) for user in re.findall(r"^USER (.*)$", bodies[stage], re.MULTILINE)
        ]
        assert users[-1] == ("1000:1000" if name == "kafka" else "10001:10001"), name


def test_models_are_where_they_run() -> None:
    assert {name for name, target in TARGETS.items() if "transcribe" in target.extras.split(",")} == {
        "transcribe-agent"
    }
    assert {name for name, target in TARGETS.items() if target.without == "wordllama"} == {
        "media-agent",
        "transcribe-agent",
    }
    assert {name for name, target in TARGETS.items() if {"all", "embedded"} & set(target.extras.split(","))} == set()


def test_the_build_is_sent_what_the_image_is_made_of_and_nothing_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE) for name in line.split()[:-1]}
    assert sent == copied


def test_the_smallest_image_is_complete(tmp_path: Path) -> None:
    """The others, by the same functions: python scripts/image_parts.py."""
    imports(TARGETS["cost-ledger"], install(TARGETS["cost-ledger"], tmp_path / "packages"))


def test_an_image_without_its_extras_is_noticed(tmp_path: Path) -> None:
    python = install(TARGETS["cost-ledger"], tmp_path / "packages")
    with pytest.raises(subprocess.CalledProcessError):
        imports(TARGETS["api-gateway"], python)
