"""The dashboards of deploy/grafana ask for what there is, and can be read."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts.grafana.__main__ import TARGET, files
from tests.contract.observed import askable, choices, dashboards, ours, panels, put_in, queries
from tests.support.process import ROOT
from tests.support.promql import read

BOARDS = dashboards()
register_default_plugins()  # queries of Prometheus and the kinds of panels
MISSING = object()
EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def test_the_files_are_what_the_script_writes() -> None:
    assert {file.name: file.read_text() for file in TARGET.iterdir()} == files(), "run: python -m scripts.grafana"


@EACH_BOARD
def test_grafana_knows_every_field_of_a_dashboard(board: dict[str, Any]) -> None:
    """A field that it does not know is passed over without a word. What it adds are its defaults."""
    read_by_grafana = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert list(lost(board, read_by_grafana)) == []


def lost(written: Any, found: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Where what was written is not found again."""
    if isinstance(written, dict) and isinstance(found, dict):
        for key, value in written.items():
            yield from lost(value, found.get(key, MISSING), f"{place}/{key}")
    elif isinstance(written, list) and isinstance(found, list) and len(written) == len(found):
        for number, pair in enumerate(zip(written, found, strict=True)):
            yield from lost(*pair, f"{place}/{number}")
    elif written != found:
        yield place


@EACH_BOARD
def test_a_query_asks_for_what_there_is_and_its_legend_for_what_it_has(board: dict[str, Any]) -> None:
    known = askable(ours())
    for expr, legend in queries(board):
        labels = read(expr, known).labels
        assert labels is not None
        assert set(re.findall(r"{{(\w+)}}", legend)) <= labels, f"{expr}: {legend}"
        assert "{{" in legend or labels == frozenset(), f"{expr}: its series would all be called {legend!r}"


@EACH_BOARD
def test_what_may_be_chosen_is_a_label_and_has_an_effect(board: dict[str, Any]) -> None:
    known = askable(ours())
    asked = " ".join(target["expr"] for panel in panels(board) for target in panel["targets"])
    chosen = dict(choices(board))
    assert set(re.findall(r"\$(?!__)(\w+)", asked)) == chosen.keys()
    for label, metric in chosen.items():
        assert label in known[metric]
        assert f'{label}=~"${label}"' in asked


@EACH_BOARD
def test_a_panel_says_what_it_shows_in_which_unit_and_asks_something(board: dict[str, Any]) -> None:
    titles = [(panel["title"], panel["type"]) for panel in panels(board)]
    for panel in panels(board):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    assert len(titles) == len({panel["id"] for panel in panels(board)})


@EACH_BOARD
def test_no_panel_covers_another(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for place in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert place not in taken, f"{panel['title']} covers {taken[place]}"
            taken[place] = panel["title"]


def test_each_dashboard_links_to_the_others() -> None:
    assert BOARDS.keys() == {"producer", "pipeline", "costs"}
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        (link,) = board["links"]
        assert link["type"] == "dashboards"
        assert all(set(link["tags"]) <= set(other["tags"]) for other in BOARDS.values())


@EACH_BOARD
def test_the_datasource_is_chosen_and_is_the_provisioned_one_at_first(board: dict[str, Any]) -> None:
    (provisioned,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    (variable,) = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    assert variable["name"] == "datasource"
    assert variable["query"] == provisioned["type"] == "prometheus"
    assert variable["current"]["value"] == provisioned["uid"]


def test_limits_are_those_of_the_alerts() -> None:
    """A dashboard that is green while an alert fires would be believed."""
    limits = {
        (name, panel["title"]): [
            step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
        ]
        for name, board in BOARDS.items()
        for panel in panels(board)
    }
    assert limits["pipeline", "Backlog"] == limits["producer", "Outbox"] == [100]
    assert limits["pipeline", "Error ratio"] == limits["producer", "Errors"] == [0.05]
    assert limits["costs", "Budgets"] == limits["costs", "Used"] == [0.5, 0.8, 1]
    assert limits["pipeline", "Realtime factor"] == [1]
    assert limits["producer", "Heap"] == [0.6]


def test_variables_are_put_in() -> None:
    assert put_in('rate(a{stage=~"$stage"}[$__rate_interval])') == 'rate(a{stage=~".*"}[5m])'
