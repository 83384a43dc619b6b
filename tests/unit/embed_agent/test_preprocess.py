from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.text import count_words
from services.embed_agent.preprocess import Kind, cleaned, kind_of, prepared
from tests.unit.embed_agent.chunk_checks import PERSIAN, TEXTS

ROOT = Path(__file__).parents[3]
KINDS: list[Kind] = ["post", "article", "transcript"]
_PRINTED = (
    "& amp; lt; gt; #38; < > b / p script <!-- --> ` # @ Tag [ ]( ) https://a.example/ ?utm_source=x m 水 !!!! _ ="
)
_BLANK = ("\n```\n", "\n", "    ", "\t", " ", "line\n", "\x07", "\r\n", "\u200d", "\u200c", "\u0301", "x" * 50)
SIGNS = st.sampled_from((*_PRINTED.split(), *_BLANK, '"', "h2", "1", "."))
MESS = st.lists(SIGNS, max_size=60).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(MESS, TEXTS, st.text(max_size=500)))
def test_cleaning_again_changes_nothing(kind: Kind, text: str) -> None:
    once = cleaned(text, kind)
    assert cleaned(once, kind) == once
    assert unicodedata.is_normalized("NFC", once) or kind == "transcript"


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(MESS, TEXTS, st.text(max_size=500)))
def test_what_is_left_without_words_says_why(kind: Kind, text: str) -> None:
    ready = prepared(text, kind)
    assert ready.reason or count_words(ready.text) > 0


@pytest.mark.parametrize("kind", KINDS)
@given(words=st.lists(st.from_regex(r"[a-c]{1,3}[d-f]{1,3}[.,!?]?", fullmatch=True), max_size=60))
def test_plain_words_stay_as_they_are(kind: Kind, words: list[str]) -> None:
    text = " ".join(words)
    assert cleaned(text, kind) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Tom &amp; Jerry &lt;3 &#128514;", "Tom & Jerry <3 😂"),
        ("&amp;amp;amp;amp;lt;b&gt;bold", "bold"),
        ("if a <b and c> d then a < b", "if a <b and c> d then a < b"),
        ('One<br/>two<p class="x">three</p>four wo<b>r</b>d', "One\ntwo\n\nthree\n\nfour word"),
        ("a<script>let x = '<b>';</script>b<!-- no -->c<style>p {}</style>d", "abcd"),
        ("<!-- never closed", "<!-- never closed"),
        ("Table<table><tr><td>x</td><td>y</td></tr></table>", "Table\n\nx y"),
        ("zero\u200bwidth\ufeff pass\u200dword \u202eevil\u202c", "zerowidth password evil"),
        (PERSIAN, PERSIAN),
        ("क्\u200dष 👨\u200d👩\u200d👧 ❤️\u200d🔥", "क्\u200dष 👨\u200d👩\u200d👧 ❤️\u200d🔥"),
        ("Cafe\u0301", "Café"),
        ("many   \t blanks\r\n\r\n\r\n\r\nand lines", "many blanks\n\nand lines"),
        ("no!!!!!!!! ......... ======", "no!!! ... ==="),
        ("same\nsame\nother\nsame", "same\nother\nsame"),
        ("[docs](https://a.example/b) and ![a mill](mill.png) f[i](x)", "docs and a mill f[i](x)"),
        ("[![badge](https://a.example/b.svg)](https://a.example)", "badge"),
        ("see https://a.example/x?utm_source=n&id=7&fbclid=1#top.", "see https://a.example/x?id=7#top."),
        (
            "(https://www.example.com/2024/05/how-water_mills-work/%D8%B7%D8%A7%D8%AD%D9%88%D9%86%D8%A9?id=88123)",
            "(example.com how water mills work طاحونة)",
        ),
    ],
)
def test_what_carries_no_meaning_is_taken_away(text: str, clean: str) -> None:
    assert cleaned(text, "article") == clean
    assert cleaned(text, "post") == clean


@pytest.mark.parametrize(
    ("text", "post"),
    [
        ("Soooooo goood #WaterMills2024 #AIForMills", "Sooo goood Water Mills2024 AI For Mills"),
        ("@@ada_l and @grace. mail me@example.com", "ada_l and grace. mail me@example.com"),
        ("##tag #水车 #1 C# a#b", "tag 水车 #1 C# a#b"),
    ],
)
def test_posts_say_their_tags_and_names_in_words(text: str, post: str) -> None:
    assert cleaned(text, "post") == post
    assert cleaned(text, "article") == text


def test_code_and_headers_of_an_article_stay() -> None:
    code = "```html\n<b>x</b>   &amp;\n\n\n\n@name ------ https://a.example/?utm_source=1\n```"
    text = f"# Same\n\n{code}\n\n# Same\n\nUse `<b>` here.\n\n    # no header\n\n# Same\n\n# Same"
    assert cleaned(text, "article") == text


def test_html_becomes_markdown() -> None:
    text = "<h2>Mills</h2><p>Two kinds:</p><ul><li>over</li><li>under</li></ul>"
    assert cleaned(text, "article") == "## Mills\n\nTwo kinds:\n\n- over\n\n- under"


def test_boilerplate_is_said_once() -> None:
    text = "\n".join(f"Paragraph {number} of it.\nRead more" for number in range(5))
    assert cleaned(text, "article").count("Read more") == 1
    assert cleaned(text, "article").count("Paragraph") == 5


def test_what_is_nested_without_end_is_settled() -> None:
    nested = "[" * 40 + "word" + "](/a)" * 40
    assert "word" in cleaned(nested, "article")
    assert cleaned(cleaned(nested, "article"), "article") == cleaned(nested, "article")


def test_a_transcript_only_loses_blanks() -> None:
    assert cleaned("so  so so so &amp; \n#Mills", "transcript") == "so so so so &amp; #Mills"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too-short"),
        ("<p></p><br>", "too-short"),
        ("abc", "too-short"),
        ("😂 😂 👍 -- ... !?", "no-words"),
        ("a\0b" * 20, "binary"),
        ("https://a.example/b", "mostly-links"),
        ("look https://a.example https://b.example https://c.example", "mostly-links"),
        ("look here, all of you: https://a.example", None),
        ("buy " * 20, "repetitive"),
        ("Buy it now!\n" * 20 + "Now", "repetitive"),
        ("The wheel turns.\n" * 5, None),
        ("A mill is turned by a stream. " * 4, None),
    ],
)
def test_a_text_is_skipped_for_a_reason(text: str, reason: str | None) -> None:
    assert prepared(text, "article").reason == reason


@pytest.mark.parametrize("text", ["no", "no " * 30, "https://a.example/b"])
def test_speech_is_always_worth_finding(text: str) -> None:
    assert prepared(text, "transcript").reason is None


def test_posts_are_told_from_articles_by_their_content_type() -> None:
    assert [kind_of("text", one) for one in ("tweet", "post", "comment", "caption")] == ["post"] * 4
    assert [kind_of("text", one) for one in ("article", "video", "unknown")] == ["article"] * 3
    assert kind_of("transcript", "tweet") == "transcript"


@pytest.mark.parametrize(
    "name", ["README.md", "docs/transcription.md", "millrace/testing/media/what-a-millrace-is.txt"]
)
def test_a_real_page_keeps_its_words(name: str) -> None:
    text = (ROOT / name).read_text()
    before, after = count_words(text), count_words(cleaned(text, "article"))
    assert 0.9 * before < after <= before


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["&amp;", "<b ", "<!--", "[a](", "@#", "https://x.y/?a=1 ", "\u200d", "[", "&#38;lt;"]
)
def test_a_megabyte_of_signs_is_read_in_time(unit: str) -> None:
    for kind in KINDS:
        cleaned(unit * (1_000_000 // len(unit)), kind)
