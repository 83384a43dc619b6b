"""What a PromQL query asks for, and which labels its answer has: a query that names a label which is not there, or
joins what has other labels, is valid and never answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import promql_parser as promql
from promql_parser import AggModifierType, MatchOp

Labels = frozenset[str]
_SET_OPERATORS: Final = {"and", "or", "unless"}
_KEEP_ALL: Final = {"topk", "bottomk"}


class Wrong(Exception):
    """The query can never answer what it is meant to."""


@dataclass(frozen=True)
class Query:
    """A query that was read.

    `metrics` are the series that it names, `values` which values of their labels it picks (series, label, value), and
    `labels` what its answer is told apart by; None: it is a number.
    """

    metrics: frozenset[str]
    values: frozenset[tuple[str, str, str]]
    labels: Labels | None


def read(text: str, known: Mapping[str, Labels]) -> Query:
    """Read a query.

    :param known: labels of each series, by the name that it is queried by.
    :raises Wrong: it does not parse, or names what is not known.
    """
    try:
        expr = promql.parse(text)
    except ValueError as exc:
        raise Wrong(f"{text}: {exc}") from exc
    reader = _Reader(known)
    try:
        labels = reader.labels(expr)
    except Wrong as exc:
        raise Wrong(f"{text}: {exc}") from None
    return Query(frozenset(reader.metrics), frozenset(reader.values), labels)


@dataclass
class _Reader:
    known: Mapping[str, Labels]
    metrics: set[str] = field(default_factory=set)
    values: set[tuple[str, str, str]] = field(default_factory=set)

    def labels(self, expr: promql.Expr) -> Labels | None:
        """The labels of what an expression gives; None for a number or a text."""
        found: Labels | None = None
        match expr:
            case promql.NumberLiteral() | promql.StringLiteral():
                pass
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                found = self.labels(expr.expr)
            case promql.VectorSelector():
                found = self._selected(expr)
            case promql.MatrixSelector():
                found = self._selected(expr.vector_selector)
            case promql.AggregateExpr():
                found = self._aggregated(expr)
            case promql.Call():
                found = self._called(expr)
            case promql.BinaryExpr():
                found = self._joined(expr)
            case _:
                raise Wrong(f"{type(expr).__name__} is not understood here")
        return found

    def _selected(self, selector: promql.VectorSelector) -> Labels:
        name = selector.name
        if name is None or name not in self.known:
            raise Wrong(f"there is no metric {name}")
        self.metrics.add(name)
        for matcher in selector.matchers.matchers:
            self._need({matcher.name}, self.known[name], name)
            self.values.update((name, matcher.name, value) for value in _words(matcher))
        return self.known[name]

    def _aggregated(self, expr: promql.AggregateExpr) -> Labels:
        inner = self._vector(expr.expr)
        named = set(expr.modifier.labels) if expr.modifier else set[str]()
        self._need(named, inner, str(expr.op))
        if expr.modifier and expr.modifier.type == AggModifierType.Without:
            return inner - named
        return inner if str(expr.op) in _KEEP_ALL else frozenset(named)

    def _called(self, call: promql.Call) -> Labels | None:
        name = call.func.name
        vectors = [labels for labels in map(self.labels, call.args) if labels is not None]
        if name == "absent":
            (selector,) = call.args
            return frozenset(one.name for one in selector.matchers.matchers if one.op == MatchOp.Equal)
        if name == "histogram_quantile":
            self._need({"le"}, vectors[0], name)
            return vectors[0] - {"le"}
        return vectors[0] if vectors and name != "scalar" else None

    def _joined(self, expr: promql.BinaryExpr) -> Labels | None:
        left, right = self.labels(expr.lhs), self.labels(expr.rhs)
        if left is None or right is None:
            return right if left is None else left
        modifier = expr.modifier
        if modifier is None or modifier.matching is None:
            if left != right:
                raise Wrong(f"{sorted(left)} {expr.op} {sorted(right)} match nothing")
            return left
        if not str(modifier.matching).startswith("on"):
            raise Wrong("join on() labels, so that another label of a metric changes nothing")
        on = set(modifier.matching.labels)
        self._need(on, left & right, f"both sides of {expr.op}")
        return left if str(expr.op).split()[0] in _SET_OPERATORS else frozenset(on)

    def _vector(self, expr: promql.Expr) -> Labels:
        labels = self.labels(expr)
        if labels is None:
            raise Wrong("a number is aggregated")
        return labels

    def _need(self, named: set[str], there: Labels, what: str) -> None:
        if missing := named - there:
            raise Wrong(f"{what} has no {', '.join(sorted(missing))}, only {', '.join(sorted(there)) or 'no label'}")


def _words(matcher: promql.Matcher) -> Iterator[str]:
    """The values that a matcher picks, where it lists them."""
    if matcher.op == MatchOp.Equal:
        yield matcher.value
    elif matcher.op == MatchOp.Re and re.fullmatch(r"[\w|]+", matcher.value):
        yield from matcher.value.split("|")
