"""Another model takes over while everything runs: the commands, the agent and the gateway together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from millrace.models import wordllama
from millrace.models.fastembed import find_model
from tests.e2e.apart import Apart, apart
from tests.support.onnx_model import write_model
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHARES = 3
OLD: Final = wordllama.NAME
SERVICES = ("cost_ledger", "embed_agent", "api_gateway")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model that nothing was embedded by so far."""
    return str(write_model(tmp_path_factory.mktemp("models") / "words"))


@pytest.fixture(scope="module")
def parts(new: str) -> Iterator[Apart]:
    environment = {
        "MILLRACE_EMBED_BACKEND": "local",
        "MILLRACE_EMBED_FASTEMBED_MODEL": new,
        "MILLRACE_HTTP_PORT": "0",
        "OPENAI_API_KEY": "",
    }
    with apart(environment, {}) as made:
        made.start(SERVICES)
        made.environment["MILLRACE_GATEWAY"] = made.gateway
        yield made


def add(parts: Apart, number: int, *words: str) -> str:
    text = f"The quarterly tax number {number} returns while the dog runs in the park."
    share: str = parts.millrace_json("share", "add", "--text", text, *words)["share_id"]
    job = "SELECT state FROM jobs WHERE share_id = %s AND stage = 'embed'"
    until(lambda: parts.sql(job, share)[0]["state"] == "done", "the share to be embedded")
    return share


def found(parts: Apart) -> dict[str, set[str]]:
    answer = parts.millrace_json("search", "tax returns", "--limit", "50")
    assert answer["note"] is None
    ways: dict[str, set[str]] = {}
    for hit in answer["hits"]:
        ways.setdefault(hit["share_id"], set()).update(hit["matched_by"])
    return ways


def status(parts: Apart) -> dict[str, tuple[int, int]]:
    document = parts.millrace_json("embeddings", "status")
    return {one["model"]: (one["shares"], one["searched"]) for one in document["models"]}


def test_another_model_takes_over_while_everything_runs(parts: Apart, new: str) -> None:
    name = find_model(new, download=False).name
    shares = [add(parts, number) for number in range(SHARES - 1)]
    shares.append(add(parts, 9, "--chunker", "fixed"))
    both = {share: {"semantic", "keyword"} for share in shares}
    assert found(parts) == both
    (cut,) = parts.sql(
        "SELECT w.result ->> 'chunker' AS c FROM jobs JOIN work w USING (work_key) WHERE share_id = %s", shares[-1]
    )
    assert cut == {"c": "fixed"}

    planned = parts.millrace_json("embeddings", "reembed", "--model", name, "--dry-run")
    assert (planned["shares"], planned["to_do"], planned["model"]) == (SHARES, SHARES, name)
    process = parts.millrace("embeddings", "switch", name)
    assert "has embedded nothing" in process.communicate(timeout=60)[1]
    assert process.returncode == 78

    parts.millrace_json("embeddings", "reembed", "--model", name)
    until(lambda: status(parts).get(name) == (SHARES, 0), "all shares to be embedded by the other model")
    assert status(parts)[OLD] == (SHARES, SHARES), "search has stayed with its model"
    assert found(parts) == both

    switched = parts.millrace_json("embeddings", "switch", name)
    assert switched["search_model"] == name
    assert status(parts) == {OLD: (SHARES, 0), name: (SHARES, SHARES)}
    assert found(parts) == both
    process = parts.millrace("embeddings", "drop", OLD)
    assert "moment ago" in process.communicate(timeout=60)[1]

    late = add(parts, 10)  # by the agent's own model still, until its setting is changed
    assert found(parts) == {**both, late: {"semantic", "keyword"}}
    assert parts.millrace_json("embeddings", "switch", OLD)["search_model"] == OLD, "and back"
    assert found(parts) == {**both, late: {"semantic", "keyword"}}
