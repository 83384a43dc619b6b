from __future__ import annotations

import time

import pytest

from services.summarize_agent.metadata import MOST_LINKS, metadata_of


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See https://example.org/mill.", ["https://example.org/mill"]),
        ("(https://en.wikipedia.org/wiki/Race_(mill)), twice", ["https://en.wikipedia.org/wiki/Race_(mill)"]),
        (
            "[mill](http://example.org/a?b=c&d=e#f) HTTPS://EXAMPLE.ORG",
            ["http://example.org/a?b=c&d=e#f", "HTTPS://EXAMPLE.ORG"],
        ),
        ("https://a.org https://a.org", ["https://a.org"]),
        ("https://ada:secret@example.org/ https://ada:secret@mill/ mailto:a@b.org ftp://c.org", []),
        ("https:// http://.", []),
        (
            "https://a.org/?to=ada@example.org https://a.org/#ada%40example.org https://a.org/@ada",
            ["https://a.org/@ada"],
        ),
        ("(see https://a.org/a_(b)).)]) https://a.org/c)", ["https://a.org/a_(b)", "https://a.org/c"]),
        (
            "水車は<https://example.org/水車>、または https://example.org/粉。",
            ["https://example.org/水車", "https://example.org/粉"],
        ),
        (f"https://example.org/{'a' * 3000}", []),
    ],
)
def test_links_are_found_without_the_signs_of_the_sentence(text: str, links: list[str]) -> None:
    assert metadata_of(text).links == links


def test_of_many_links_the_first_are_kept() -> None:
    found = metadata_of(" ".join(f"https://example.org/{number}" for number in range(50))).links
    assert found == [f"https://example.org/{number}" for number in range(MOST_LINKS)]


def test_addresses_of_people_are_counted_and_not_kept() -> None:
    found = metadata_of("Ask ada@example.org, Ada@Example.org or b.c+d@mail.example.co.uk; not a@b or @c or d@.")
    assert found.emails == 2
    assert "ada" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("none `a` here", 0),
        ("```py\na\n```\ntext\n~~~\nb\n~~~", 2),
        ("```\nnever closed", 1),
        ("````\n```\nnested\n```\n````", 1),
        ("```a``` inline", 0),
    ],
)
def test_blocks_of_code_are_those_between_fences(text: str, blocks: int) -> None:
    assert metadata_of(text).code_blocks == blocks


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a@",
        "a.",
        "https://",
        "```",
        "(",
        "https://a)",
        "\n```",
        "https://" + ")" * 390_000,
        "https://" + ")" * 1990 + " ",
    ],
    ids=lambda piece: f"{piece[:12]} {len(piece)}",
)
def test_no_text_takes_longer_than_its_length(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    before = time.process_time()
    metadata_of(text)
    assert time.process_time() - before < 2
