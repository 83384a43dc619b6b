"""SQL as text: its tokens, its statements, and the query of a table or view, to compare ksqlDB's with Flink's. Pure.

Evened out is only what means the same by definition: comments, line breaks, the case of words outside of quotes,
Flink's backticks around a word that it reserves, and ksqlDB's EMIT CHANGES, which says that the result goes on (if
Flink's does is a setting). Everything else has to be the same word for word, so no rule here could be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"(?P<blank>\s+|--[^\n]*|/\*.*?\*/)"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<name>`(?:[^`]|``)*`)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<sign><=|>=|<>|!=|->|=>|:=|\|\||[^\s\w])",
    re.DOTALL,
)


def tokens(sql: str) -> list[str]:
    """Words in capitals, texts and quoted names as they are, signs; no comments.

    :raises ValueError: an open quote or comment.
    """
    found: list[str] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None or match["sign"] in {"'", "`"}:
            raise ValueError(f"no SQL from character {at}: {sql[at : at + 20]!r}")
        at = match.end()
        if match["word"] is not None:
            found.append(match["word"].upper())
        elif match["blank"] is None:
            found.append(match[0])
    return found


def statements(sql: str) -> list[list[str]]:
    """The tokens of each statement, without its semicolon."""
    return list(_split(tokens(sql)))


def texts(sql: str) -> list[str]:
    """Each statement as it is written, without its semicolon and what stands before its first word."""
    found: list[str] = []
    begun: int | None = None
    for match in _TOKEN.finditer(sql):
        if match["sign"] == ";":
            if begun is not None:
                found.append(sql[begun : match.start()].rstrip())
            begun = None
        elif begun is None and match["blank"] is None:
            begun = match.start()
    return found


def query_of(name: str, sql: str) -> list[str]:
    """Tokens of the query that makes a table, stream or view; without a final EMIT CHANGES.

    :raises LookupError: nothing of this name is made by a query.
    """
    for statement in statements(sql):
        if statement[:1] != ["CREATE"] or "AS" not in statement or "SELECT" not in statement:
            continue
        made = next(word for word in statement[1:] if word not in {"OR", "REPLACE", "TABLE", "STREAM", "VIEW"})
        if made == name.upper():
            query = statement[statement.index("SELECT") :]
            return query[:-2] if query[-2:] == ["EMIT", "CHANGES"] else query
    raise LookupError(f"no query makes {name}")


def without_backticks(of: list[str]) -> list[str]:
    """Flink's names in backticks as plain words: they mark a reserved one. In ksqlDB they would keep its case."""
    return [word.strip("`").upper() if word.startswith("`") else word for word in of]


def _split(of: list[str]) -> Iterator[list[str]]:
    statement: list[str] = []
    for token in of:
        if token == ";":
            yield statement
            statement = []
        else:
            statement.append(token)
    if statement:
        raise ValueError(f"no semicolon ends {' '.join(statement[:4])}")
