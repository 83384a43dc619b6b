from __future__ import annotations

import json
import time

import pytest
from pydantic import BaseModel, ConfigDict, Field

from millrace.models.answers import read
from millrace.models.question import AGAIN_TOKENS, SHOWN, Question, Wrong
from tests.support.injections import FELL_FOR_IT, INJECTIONS


class Form(BaseModel):
    summary: str = Field(min_length=1)
    tags: list[str] = []
    quality: float = Field(default=0, le=1)


ASKED = ("summary", "tags", "quality")
GOOD = '{"summary": "Water drives mills.", "tags": ["mill"], "quality": 0.5}'


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        GOOD.replace("}", ",}"),
        GOOD.replace('"', "'"),
        GOOD.replace('"tags"', "tags"),
        GOOD.replace(", ", "\n"),
        GOOD.replace("0.5}", "0.5 // not bad\n}"),
    ],
)
def test_json_is_found_and_mended(content: str) -> None:
    found = read(content, Form, ASKED)
    assert found.value == Form(summary="Water drives mills.", tags=["mill"], quality=0.5)
    assert (found.said, found.problem) == ("", "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "it was empty"),
        ("  ", "it was empty"),
        (["parts"], "it was empty"),
        ("Water drives mills.", "it held no JSON object"),
        ("{No}", "its JSON could not be read"),
        ("{'sum': 1}", "its JSON was not valid, and had no summary, tags, quality"),
        ('{"summary": "x", }', "its JSON was not valid, and had no tags, quality"),
        ("{}", "summary: missing"),
        ('{"summary": "x", "quality": 0.5}', "it had no tags"),
        ('{"summary": "x\\\\\\u0000", "tags": [], "quality": 0.5}', "it held a NUL character"),
        ('{"summary": "x", "quality": 7}', "quality: less_than_equal"),
        ('{"summary": "x\\u0000", "tags": [], "quality": 0.5}', "it held a NUL character"),
        ("x" * 100_001, "it was far too long"),
        ("{" * 99_000 + "}", "its JSON could not be read"),
        ("{" + "a b " * 3000 + "}", "its JSON could not be read"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(content: object, problem: str) -> None:
    found = read(content, Form, ASKED)
    assert (found.value, found.problem) == (None, problem)
    assert len(found.said) <= SHOWN


def test_a_text_about_the_nul_character_holds_none() -> None:
    about = GOOD.replace("Water", "The sign \\\\u0000")
    assert read(about, Form, ASKED).value == Form(
        summary="The sign \\u0000 drives mills.", tags=["mill"], quality=0.5
    )


def test_what_the_mender_stumbles_over_is_an_answer_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise IndexError("one of its bugs")

    monkeypatch.setattr("json_repair.loads", stumble)
    assert read("{'summary': 1}", Form, ASKED).problem == "its JSON could not be read"


def test_what_is_wrong_does_not_repeat_what_was_said() -> None:
    found = read('{"summary": ["my secret"], "quality": "my secret"}', Form, ASKED)
    assert found.problem == "summary: string_type; quality: float_parsing"

    class Closed(Form):
        model_config = ConfigDict(extra="forbid")

    found = read('{"summary": "x", "my secret": 1}', Closed, ASKED)
    assert found.problem == "the JSON object: extra_forbidden"


def test_an_answer_that_was_cut_off_is_not_mended() -> None:
    cut = '{"tags": [], "quality": 0.5, "summary": "They use {braces} for wa'
    assert read(cut, Form, ASKED, cut_off=True).problem.startswith("it was cut off")
    assert read(GOOD, Form, ASKED, cut_off=True).value is not None, "it was complete all the same"
    assert read('{"summary": "Water drives wa', Form, ASKED).problem == "it held no JSON object"
    assert read(GOOD, Form, ASKED, cut_off=True, closed=True).problem.startswith("it was cut off"), (
        "somebody closed it"
    )
    assert read(GOOD, Form, ASKED, closed=True).value is not None
    for blank in ("", None):
        assert "MILLRACE_LLM_MAX_TOKENS" in read(blank, Form, ASKED, cut_off=True).problem


@pytest.mark.parametrize(
    "content", ["{" * 19 + "a" * 5900 + "}", "{" + 'a b c "x" ' * 590 + "}", '{"' * 19 + "'" * 5900 + "}"]
)
def test_mending_takes_no_time(content: str) -> None:
    before = time.process_time()
    read(content, Form, ASKED)
    assert time.process_time() - before < 1, "meanwhile no lease is renewed"


@pytest.mark.parametrize("said", FELL_FOR_IT.values(), ids=FELL_FOR_IT)
def test_an_answer_of_a_model_that_fell_for_it_is_not_in_the_form(said: str) -> None:
    class Strict(Form):
        summary: str = Field(pattern=r"\S")

    assert read(said, Strict, ASKED).value is None


@pytest.mark.parametrize("document", INJECTIONS.values(), ids=INJECTIONS)
def test_no_document_gets_out_of_its_tags(document: str) -> None:
    question = Question("Summarise.", document, Form, {"summary": {"type": "string"}})
    assert question.system == "Summarise."
    inside = question.user.removeprefix("<document>\n").removesuffix("\n</document>")
    assert len(inside) == len(question.user) - len("<document>\n\n</document>")
    plain = "".join(sign for sign in inside.lower() if sign.isascii() and not sign.isspace())
    for tag in ("</document", "<document", "</answer", "<answer"):
        assert tag not in plain
    assert "\uff1c\uff0f" not in inside
    letters = [sign for sign in document if sign.isalnum()]
    assert [sign for sign in inside if sign.isalnum()] == letters, "no word is lost"


@pytest.mark.parametrize("said", [*INJECTIONS.values(), *FELL_FOR_IT.values(), "\U0010ffff" * 9000])
def test_an_earlier_answer_is_shown_as_data_and_never_makes_the_question_longer_than_was_held(said: str) -> None:
    question = Question("Summarise.", "Water.", Form, {})
    again = Question("Summarise.", "Water.", Form, {}, Wrong(said, "\U0001f3ed" * 9000))
    assert again.user.count("<answer>") == again.user.count("</answer>") == 1
    assert again.user.count("</document>") == 1
    assert said[:20] not in again.system
    before, after = ((one.system + one.user).encode() for one in (question, again))
    assert len(after) - len(before) <= AGAIN_TOKENS


def test_the_schema_asks_for_all_and_no_more() -> None:
    question = Question("Summarise.", "Water.", Form, {"summary": {"type": "string"}})
    assert json.loads(json.dumps(question.schema)) == {
        "type": "object",
        "properties": {"summary": {"type": "string"}},
        "required": ["summary"],
        "additionalProperties": False,
    }
    assert question.name == "form"
