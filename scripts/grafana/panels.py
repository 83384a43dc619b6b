"""Dashboards of Grafana from rows of panels, laid out by themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypedDict, Unpack

COLUMNS: Final = 24
TAG: Final = "millrace"
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA: Final = 41
_HEIGHTS: Final = {"stat": 4, "bargauge": 8, "timeseries": 8}

Json = dict[str, Any]
Kind = Literal["stat", "bargauge", "timeseries"]


class Ask(NamedTuple):
    """A query, and how a series of its answer is called."""

    expr: str
    legend: str


class Limit(NamedTuple):
    """From a value on, a colour."""

    value: float
    colour: str


class Panel(NamedTuple):
    """What is shown, and what it means to whoever looks.

    :param unit: Grafana's name of a unit.
    :param names: show what series are called rather than their values.
    :param words: texts for values.
    """

    title: str
    text: str
    unit: str
    asks: Sequence[Ask]
    width: int = 8
    kind: Kind = "timeseries"
    limits: Sequence[Limit] = ()
    stacked: bool = False
    names: bool = False
    words: Sequence[tuple[int, str]] = ()
    most: float | None = None


class Row(NamedTuple):
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel]


class Choice(NamedTuple):
    """A label that a person may choose values of."""

    label: str
    title: str
    metric: str


class More(TypedDict, total=False):
    """Fields of a panel that it may have."""

    width: int
    limits: Sequence[Limit]
    stacked: bool
    names: bool
    words: Sequence[tuple[int, str]]
    most: float


def stat(title: str, text: str, unit: str, *asks: Ask, **more: Unpack[More]) -> Panel:
    """One number a series, as it is now."""
    more.setdefault("width", 4)
    return Panel(title, text, unit, asks, kind="stat", **more)


def bars(title: str, text: str, unit: str, *asks: Ask, **more: Unpack[More]) -> Panel:
    """A bar a series, as it is now."""
    return Panel(title, text, unit, asks, kind="bargauge", **more)


def graph(title: str, text: str, unit: str, *asks: Ask, **more: Unpack[More]) -> Panel:
    """Lines over time."""
    return Panel(title, text, unit, asks, **more)


def quantiles(metric: str, by: str = "", where: str = "", parts: Sequence[float] = (0.5, 0.95)) -> list[Ask]:
    """Quantiles of a histogram, by labels."""
    labels = ", ".join(filter(None, ("le", by)))
    told_apart = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    return [
        Ask(
            f"histogram_quantile({part:g}, sum by ({labels}) (rate({metric}_bucket{where}[$__rate_interval])))",
            f"{told_apart} p{part * 100:g}".strip(),
        )
        for part in parts
    ]


def board(name: str, title: str, text: str, rows: Sequence[Row], choices: Sequence[Choice] = ()) -> Json:
    """A dashboard. Grafana knows it by its uid, which links and bookmarks keep."""
    return {
        "uid": f"{TAG}-{name}",
        "title": title,
        "description": text,
        "tags": [TAG],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "links": [
            {
                "title": "Millrace",
                "type": "dashboards",
                "tags": [TAG],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            }
        ],
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), *map(_choice, choices)]},
        "panels": list(_laid_out(rows)),
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    number, top = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": _at(0, top, COLUMNS, 1),
        }
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            height = max(height, _HEIGHTS[panel.kind])
            yield {"id": number, **_shown(panel), "gridPos": _at(left, top, panel.width, _HEIGHTS[panel.kind])}
            number, left = number + 1, left + panel.width
        top += height


def _at(x: int, y: int, w: int, h: int) -> Json:
    return {"x": x, "y": y, "w": w, "h": h}


def _shown(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "targets": [_target(panel, number, ask) for number, ask in enumerate(panel.asks)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, number: int, ask: Ask) -> Json:
    now = panel.kind != "timeseries"
    return {
        "refId": chr(ord("A") + number),
        "datasource": _DATASOURCE,
        "expr": ask.expr,
        "legendFormat": ask.legend,
        "instant": now,
        "range": not now,
    }


def _field(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green" if panel.limits else "blue", "value": None}]
    steps += [{"color": limit.colour, "value": limit.value} for limit in panel.limits]
    field: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.most is not None:
        field["max"] = panel.most
    if panel.kind == "timeseries":
        field["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 30 if panel.stacked else 5,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
        }
        field["color"] = {"mode": "palette-classic"}
    else:
        field["color"] = {"mode": "thresholds"}
    if panel.words:
        field["mappings"] = [
            {"type": "value", "options": {str(value): {"text": word} for value, word in panel.words}}
        ]
    return field


def _options(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "bargauge":
        return {"displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "reduceOptions": last}
    return {
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "name" if panel.names else "value_and_name" if "{{" in panel.asks[0].legend else "value",
        "reduceOptions": last,
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
        "hide": 0,
    }


def _choice(choice: Choice) -> Json:
    query = f"label_values({choice.metric}, {choice.label})"
    return {
        "name": choice.label,
        "label": choice.title,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": "A"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }
