"""The SQL of deploy/: its names are those of our topics and schemas, and spend is one query in both dialects."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from examples.consumers.keeping import TOPICS
from millrace.contracts.catalog import Catalog
from millrace.embedded.java import find_java
from tests.foreign.flink import SPEND
from tests.foreign.jars import fetch_jars
from tests.foreign.statements import query_of, statements, texts, tokens, without_backticks

KSQL: Final = SPEND.parents[1] / "ksql" / "statements.sql"
GRAMMAR: Final = os.environ.get("MILLRACE_TEST_KSQL_GRAMMAR")
_KEYWORDS: Final = """
SELECT FROM WHERE GROUP BY AS EMIT CHANGES CASE WHEN THEN ELSE END IN AND IS NOT NULL CAST JOIN WITHIN ON GRACE PERIOD
DAY DAYS HOUR WINDOW TUMBLING SIZE RETENTION BIGINT SUM COUNT AVG MAX UNIX_TIMESTAMP FROM_BYTES COALESCE
"""
WORDS: Final = frozenset(_KEYWORDS.split())
"""Words and functions of ksqlDB that the queries use; any other has to be a column, or a name that they give."""
AVRO: Final = frozenset({"task.status", "cost.decisions", *TOPICS})
"""What ksqlDB reads by its schema: events, where shares stand, and what the ledger has decided."""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def ksql() -> list[list[str]]:
    return statements(KSQL.read_text(encoding="utf-8"))


def topic_of(statement: list[str]) -> str:
    """The topic that a statement names."""
    return statement[statement.index("KAFKA_TOPIC") + 2].strip("'")


def fields_of(topic: str, catalog: Catalog) -> dict[str, object]:
    """Name and type of each field of a topic's events."""
    return {field["name"]: field["type"] for field in json.loads(catalog.written_schema_for(topic).text)["fields"]}


def declared(ksql: list[list[str]]) -> dict[str, list[str]]:
    """Statements that give a topic a name, by that name."""
    return {one[2]: one for one in ksql if one[0] == "CREATE" and "SELECT" not in one}


def test_both_dialects_ask_the_same_of_the_ledgers_decisions() -> None:
    flink = query_of("spend_per_hour", SPEND.read_text(encoding="utf-8"))
    assert without_backticks(flink) == query_of("spend_per_hour", KSQL.read_text(encoding="utf-8"))


def test_flink_takes_columns_that_decisions_have_and_only_what_is_committed(catalog: Catalog) -> None:
    fields = fields_of("cost.decisions", catalog)
    create = without_backticks(statements(SPEND.read_text(encoding="utf-8"))[0])
    columns = create[create.index("(") + 1 : create.index("WITH")]
    named = {
        columns[at].lower(): columns[at + 1] for at in range(len(columns) - 1) if at == 0 or columns[at - 1] == ","
    }
    assert named.keys() <= fields.keys()
    kinds = {name: _flink_type(fields[name]) for name in named}
    assert named == kinds
    options = dict(zip(create[create.index("WITH") :: 1], create[create.index("WITH") + 2 :: 1], strict=False))
    assert options["'properties.isolation.level'"] == "'read_committed'"
    assert options["'topic'"] == "'cost.decisions'"


def _flink_type(avro: object) -> str:
    if isinstance(avro, list):
        (avro,) = (one for one in avro if one != "null")
    if isinstance(avro, dict):
        assert avro["logicalType"] == "timestamp-millis"
        return "TIMESTAMP"
    return {"string": "STRING", "long": "BIGINT"}[str(avro)]


def test_every_topic_that_ksqldb_reads_is_ours_and_has_the_format_that_it_is_said_to_have(
    ksql: list[list[str]], catalog: Catalog
) -> None:
    topics = {}
    for statement in declared(ksql).values():
        topic = topic_of(statement)
        topics[topic] = statement[statement.index("VALUE_FORMAT") + 2]
        assert statement[1] == ("TABLE" if catalog.topic(topic).cleanup == "compact" else "STREAM"), topic
    assert topics == dict.fromkeys(AVRO, "'AVRO'") | dict.fromkeys(catalog.dead_topics, "'KAFKA'")


def test_ksqldb_writes_to_topics_of_its_own_alone(ksql: list[list[str]], catalog: Catalog) -> None:
    written = [topic_of(one) for one in ksql if one[0] == "CREATE" and "SELECT" in one]
    assert len(written) == len(set(written)) > 3
    assert all(topic.startswith("ksql.") for topic in written)
    assert not set(written) & set(catalog.topics)


def test_statements_may_be_loaded_again(ksql: list[list[str]]) -> None:
    # What is there already is refused by its name; a second INSERT INTO would go on beside the first.
    assert {one[0] for one in ksql} == {"SET", "CREATE"}
    made = [one[2] for one in ksql if one[0] == "CREATE"]
    assert len(made) == len(set(made))


def test_ksqldb_reads_committed(ksql: list[list[str]]) -> None:
    first_query = next(at for at, one in enumerate(ksql) if "SELECT" in one)
    assert ["SET", "'processing.guarantee'", "=", "'exactly_once_v2'"] in ksql[:first_query]


def test_every_word_of_ksqldbs_queries_is_a_column_of_what_they_read(ksql: list[list[str]], catalog: Catalog) -> None:
    columns: dict[str, set[str]] = {}
    for name, statement in declared(ksql).items():
        columns[name] = _declared_columns(statement)
        if topic_of(statement) in AVRO:
            columns[name] |= {field.upper() for field in fields_of(topic_of(statement), catalog)}
        stamped = statement[statement.index("TIMESTAMP") + 2].strip("'").upper() if "TIMESTAMP" in statement else None
        assert stamped is None or stamped in columns[name], name
    for statement in ksql:
        if "SELECT" not in statement:
            continue
        query = statement[statement.index("SELECT") :]
        sources = {query[at + 1] for at, word in enumerate(query) if word in {"FROM", "JOIN"}}
        known = set().union(*(columns[source] for source in sources))
        given = {query[at + 1] for at, word in enumerate(query) if word == "AS"} - WORDS
        words = {word for word in query if word[0].isalpha()} - WORDS - sources
        aliases = {query[at + 2] for at, word in enumerate(query) if word in {"FROM", "JOIN"}} - WORDS
        assert words <= known | given | aliases, (statement[:3], words - known - given - aliases)
        columns[statement[2]] = given | (known & words)


def _declared_columns(statement: list[str]) -> set[str]:
    if statement[3] != "(":
        return set()
    inside = statement[4 : statement.index("WITH")]
    return {word for at, word in enumerate(inside) if at == 0 or inside[at - 1] == ","}


@pytest.mark.skipif(
    GRAMMAR is None,
    reason="MILLRACE_TEST_KSQL_GRAMMAR does not name ksqlDB's grammar, SqlBase.g4 of github.com/confluentinc/ksql "
    "(ksqldb-parser/src/main/antlr4/io/confluent/ksql/parser), whose licence keeps it from being here",
)
@pytest.mark.parametrize("broken", [None, ("COUNT(*)", "COUNT(*"), ("WITHIN 1 DAY", "WITHIN DAY")])
def test_ksqldbs_own_grammar_parses_the_statements(tmp_path: Path, broken: tuple[str, str] | None) -> None:
    sql = KSQL.read_text(encoding="utf-8")
    if broken is not None:
        assert broken[0] in sql
        sql = sql.replace(*broken)
    file = tmp_path / "statements.sql"
    # Its lexer is given capitals, as ksqlDB does; texts in quotes stay as they are.
    file.write_text(" ".join(tokens(sql)), encoding="utf-8")
    (antlr,) = fetch_jars("antlr")
    program = ("-cp", str(antlr), "org.antlr.v4.gui.Interpreter", str(GRAMMAR), "statements", str(file))
    ended = subprocess.run(
        [find_java().executable, *program], check=False, capture_output=True, text=True, timeout=90
    )
    assert ended.returncode == 0, ended.stderr
    assert bool(ended.stderr) == (broken is not None), ended.stderr


def test_statements_are_told_apart_whatever_is_in_their_comments_and_texts() -> None:
    sql = "-- a; comment's\nSELECT 'it''s; one', `A b` /* ; */ FROM x;\nselect 2;"
    assert statements(sql) == [["SELECT", "'it''s; one'", ",", "`A b`", "FROM", "X"], ["SELECT", "2"]]
    assert texts(sql) == ["SELECT 'it''s; one', `A b` /* ; */ FROM x", "select 2"]


@pytest.mark.parametrize("sql", ["SELECT 'open;", "SELECT 1"])
def test_what_has_no_end_is_no_statement(sql: str) -> None:
    with pytest.raises(ValueError, match=r"no (SQL|semicolon)"):
        statements(sql)
