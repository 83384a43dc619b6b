"""What a text is like."""

from __future__ import annotations

from services.embed_agent.insight import NOTHING, insight_of

GERMAN = "Der Fluss stand so tief, dass die Schaufeln unseres Rades das Wasser kaum noch berührten."


def test_language_and_signature_are_those_of_the_words() -> None:
    plain = insight_of(GERMAN, "text", "article")
    dressed = insight_of(f"<p>{GERMAN}</p>\n\n", "text", "article")
    assert (plain.language, dressed.language) == ("de", "de")
    assert plain.signature == dressed.signature
    assert plain.signature is not None


def test_quality_is_that_of_the_text_as_it_was_shared() -> None:
    plain = insight_of(GERMAN, "text", "post")
    spam = insight_of(f"{GERMAN} https://spam.example/a/long/path {'!' * 40}", "text", "post")
    assert spam.quality.score < plain.quality.score
    assert (plain.quality.links, plain.quality.shouting) == (1, 1)


def test_what_is_no_text_is_nothing() -> None:
    assert insight_of("\0\1\2", "text", "article") == NOTHING
    assert insight_of("", "transcript", "") == NOTHING
