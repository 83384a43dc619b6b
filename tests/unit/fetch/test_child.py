"""What the child makes of pages and of yt-dlp's errors; the seal itself is tried in a process of its own."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnsupportedError

from millrace.fetch.child.extract import Failure, code_of
from millrace.fetch.child.page import caption_of, decoded
from millrace.fetch.child.plain import plain
from millrace.fetch.extraction import WHY


def wrapped(error: Exception) -> DownloadError:
    """As yt-dlp hands errors on."""
    return DownloadError(str(error), (type(error), error, None))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsupportedError("https://example.org/?token=secret"), "no-video"),
        (ExtractorError("There is no video in this post", expected=True), "no-video"),
        (ExtractorError("No video formats found!"), "no-video"),
        (ExtractorError("This video is DRM protected"), "drm"),
        (ExtractorError("Private video. Sign in if you've been granted access to this video"), "login"),
        (ExtractorError("Video unavailable. This video has been removed by the uploader"), "gone"),
        (ExtractorError("Requested format is not available"), "format"),
        (GeoRestrictedError("The uploader has not made this video available in your country"), "geo"),
        (ExtractorError("x", cause=TimeoutError()), "network"),
        (Failure("live"), "live"),
        (OSError(27, "File too large"), "size"),
        (OSError(28, "No space left on device"), "disk"),
        (ExtractorError("Unable to extract player version; please report this issue"), "unknown"),
        (ValueError("anything"), "unknown"),
    ],
)
def test_errors_of_yt_dlp_become_words_that_have_a_sentence(error: Exception, code: str) -> None:
    assert code_of(wrapped(error)) == code
    assert code in WHY


HINT = (
    "Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
)
# As extractors of yt-dlp say it, or sites in its errors.
SENTENCES = [
    (f"Sign in to confirm you\u2019re not a bot. {HINT}", "busy"),
    ("Sign in to confirm you're not a bot. This helps protect our community", "busy"),
    (f"Requested content is not available, rate-limit reached or login required. {HINT}", "busy"),
    ("Video unavailable. This content isn't available, try again later.", "busy"),
    ("You have exceeded the rate limit. Try again later", "busy"),
    ("You are rate-limited. Try again later.", "busy"),
    ("Service temporarily unavailable", "busy"),
    ("Your IP address is blocked from accessing this post", "busy"),
    ("Fresh cookies (not necessarily logged in) are needed", "busy"),
    ("Sign in to confirm your age. This video may be inappropriate for some users.", "login"),
    ("Private video. Sign in if you've been granted access to this video", "login"),
    ("This VOD is private", "login"),
    (f"This content is for premium users. {HINT}", "login"),
    ("Login failed: Invalid username or password", "login"),
    ("Model is in private show.", "unknown"),
    ("Unable to extract the cookies banner of Private Life", "unknown"),
    ("Video unavailable. This video is no longer available", "gone"),
    ("This live event will begin in 3 hours.", "live"),
    ("Track unavailable in your country due to licensing restrictions", "geo"),
]


@pytest.mark.parametrize(("said", "code"), SENTENCES)
def test_what_yt_dlp_says_is_understood(said: str, code: str) -> None:
    assert code_of(wrapped(ExtractorError(said, expected=True))) == code


def test_a_page_is_told_by_what_it_says_for_others() -> None:
    html = (
        "<html><head><title>Site | A talk</title><meta property='og:title' content='A  talk'>"
        "<meta name=description content='Short'>"
        "<META PROPERTY='og:description' CONTENT='About &lt;mills&gt;\n\n and water'>"
    )
    assert caption_of(html) == {"title": "A talk", "description": "About <mills>\nand water"}
    assert caption_of("<title> Only\n this </title><title>no</title>") == {"title": "Only\nthis", "description": ""}
    assert caption_of("<svg><title>") == {"title": "", "description": ""}


@pytest.mark.parametrize("odd", ["<![foo bar[", "<!DOCTYPE [<!foo", "<![", "<!--", "<?x", "<a b='"])
def test_markup_that_the_parser_gives_up_on_ends_a_page_and_nothing_else(odd: str) -> None:
    assert caption_of(f"<title>A talk</title>{odd} x ><title>no</title>")["title"] == "A talk"


@pytest.mark.parametrize("charset", [None, "utf-8", "nonsense", "hex", "idna", "\0", "undefined"])
def test_a_page_is_read_whatever_its_server_calls_its_charset(charset: str | None) -> None:
    assert "A talk" in decoded(b"<title>A talk</title>", charset)


def test_a_page_is_read_by_its_charset() -> None:
    assert decoded(b"M\xfchle", "latin-1") == "M\u00fchle"
    assert decoded(b"M\xfchle", None) == "M\ufffdhle"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=10,
)


@given(ANY)
def test_whatever_a_site_says_is_told_as_json_that_the_parent_reads(value: object) -> None:
    told = json.dumps(plain(value), allow_nan=False)
    assert TypeAdapter[JsonValue](JsonValue).validate_json(told) == json.loads(told)


def test_what_is_no_json_is_mended_and_all_else_is_kept() -> None:
    odd = {
        "title": "a\ud800b",
        "\udfff": [math.nan, -math.inf, 2**70, 1.5, True, None],
        "url": "https://x/\U0001f600",
    }
    kept = {"title": "a\ufffdb", "\ufffd": [None, None, None, 1.5, True, None], "url": "https://x/\U0001f600"}
    assert plain(odd) == kept


@given(st.text(alphabet="<>/metailcon=\"' !-?&#;a", max_size=300))
def test_no_page_is_too_broken_or_says_too_much(html: str) -> None:
    assert all(len(text) <= 10_000 for text in caption_of(html * 30).values())
