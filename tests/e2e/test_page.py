"""The web page in a real browser, over everything that runs: what people see, click and read."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from millrace.cli.client import Client
from millrace.contracts.dead import DEAD_GATE
from millrace.contracts.share_api import ShareRequest
from millrace.embedded.paths import StackPaths
from millrace.embedded.signing import sign_in_link
from millrace.testing.media import JFK_WAV
from tests.e2e.browser import (
    DESKTOP,
    PHONE,
    Scheme,
    Seen,
    barriers,
    open_browser,
    shoot,
    tab,
    transferred,
    wider_than_screen,
)
from tests.e2e.harness import Running
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WORDS = "ask not what your country can do for you"
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module; each test has tabs of its own."""
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def speech(client: Client) -> str:
    """A share with everything: recording, transcript, summary, vectors."""
    accepted = client.upload(JFK_WAV, ShareRequest(title="Inaugural address", tags=["speech"]))
    assert client.wait(accepted.share_id, within_s=120).state == "done"
    return accepted.share_id


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    with tab(browser, running) as opened:
        yield opened


def letter_of(client: Client, running: Running, folder: Path) -> str:
    """A dead letter of a file that is no media; its id."""
    path = folder / "holiday.mp4"
    path.write_bytes(b"this is not a video at all\n" * 40)
    share_id = client.upload(path, ShareRequest()).share_id
    assert client.wait(share_id, within_s=60).state == "failed"
    query = "SELECT id FROM dead_letters WHERE share_id = %s AND state = 'open'"
    (letter,) = until(lambda: running.sql(query, share_id), "the dead letter to be shown")
    return str(letter["id"])


def test_a_file_is_added_and_watched_until_it_is_done(page: Page) -> None:
    page.goto("/")
    page.get_by_role("radio", name="File").check()
    page.locator("#add-file").set_input_files(JFK_WAV)
    expect(page).to_have_url(re.compile(r"#/shares/[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("jfk.wav")
    expect(page.locator(".about .badge")).to_have_text("Done", timeout=120_000)
    expect(page.locator(".stage.is-done")).to_have_count(4)
    expect(page.locator(".lines")).to_contain_text(re.compile(WORDS, re.IGNORECASE))
    receipts = page.get_by_role("region", name="Receipts").last
    expect(receipts).to_contain_text("Settled")
    expect(receipts.locator(".total")).to_have_text(re.compile(r"^\$\d+\.\d{2,6}$"))


def test_a_text_is_added_from_the_keyboard_alone(page: Page) -> None:
    page.goto("/")
    page.locator("main[data-ready]").wait_for()
    page.get_by_role("radio", name="Link").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type("<b>The miller</b> opens the gate & lets the water run over the wheel.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/shares/[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Text")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_what_is_refused_is_said_in_a_sentence_and_kept(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Address of a video").fill("https://me:secret@example.org/talk.mp4")
    page.get_by_role("button", name="Add share").click()
    expect(page.get_by_role("alert").filter(has_text="user name or password")).to_be_visible()
    expect(page.get_by_label("Address of a video")).to_have_value("https://me:secret@example.org/talk.mp4")


def test_markup_in_a_title_stays_text(page: Page, client: Client) -> None:
    title = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    share = client.add(ShareRequest(text="The miller opens the gate.", title=title))
    seen = Seen(page)
    page.goto(f"/#/shares/{share.share_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert page.locator("main img, main script").count() == 0
    assert [one for one in seen.complaints if "thrown" in one or "Content Security" in one] == []


def test_a_line_that_is_chosen_is_played(page: Page, speech: str) -> None:
    page.goto(f"/#/shares/{speech}?t=0")
    player = page.locator("audio, video")
    expect(player).to_have_js_property("readyState", 4)
    player.evaluate("player => { player.pause(); player.currentTime = 9 }")
    line = page.locator(".line").first
    start = float(
        page.evaluate(f"fetch('/shares/{speech}').then(r => r.json()).then(s => s.transcript.segments[0].start_ms)")
    )
    line.focus()
    page.keyboard.press("Enter")
    expect(line).to_have_attribute("aria-current", "true")
    until(
        lambda: abs(player.evaluate("player => player.currentTime") - start / 1000) < 3, "the player to go there", 10
    )
    assert page.url.endswith(f"?t={start:.0f}")


def test_a_share_is_deleted_after_a_question_and_is_gone_from_the_list(page: Page, client: Client) -> None:
    share_id = client.add(ShareRequest(text="Words to be deleted by hand.", title="Not for long")).share_id
    assert client.wait(share_id, within_s=120).state == "done"
    page.goto(f"/#/shares/{share_id}")
    page.get_by_role("button", name="Delete").click()
    asked = page.get_by_role("dialog", name="Delete this share?")
    asked.get_by_role("button", name="Back").click()
    assert client.share(share_id).state == "done", "nobody has said yes"
    page.get_by_role("button", name="Delete").click()
    asked.get_by_role("button", name="Delete it").click()
    expect(page).to_have_url(re.compile(r"#/$"))
    expect(page.locator(".toast")).to_have_text("The share is deleted.")
    expect(page.get_by_role("link", name="Not for long")).to_have_count(0)
    page.goto(f"/#/shares/{share_id}")
    expect(page.get_by_text("This share is not there")).to_be_visible()


def test_a_hit_opens_its_share_at_its_moment(page: Page, speech: str) -> None:
    page.goto("/#/search")
    page.get_by_role("searchbox").fill(WORDS)
    page.keyboard.press("Enter")
    hit = page.locator(".hits > li").filter(has_text="Inaugural address").first
    expect(hit.locator("mark").first).to_be_visible()
    hit.get_by_role("link", name="Play from").click()
    expect(page).to_have_url(re.compile(rf"#/shares/{speech}\?t=\d+$"))
    expect(page.locator('.line[aria-current="true"]')).to_contain_text(re.compile("ask not", re.IGNORECASE))
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value(WORDS)


def test_a_cap_is_changed_and_seen(page: Page, client: Client) -> None:
    page.goto("/#/costs")
    page.get_by_role("button", name="Change the cap: Transcribe, this day").click()
    page.get_by_label("US dollars").fill("123.000042")
    page.get_by_role("button", name="Set the cap").click()
    expect(page.get_by_role("region", name="Transcribe")).to_contain_text("of $123.000042")
    caps = client.caps(account="default").caps
    assert ("day", 123_000_042) in {(cap.window, cap.cap_micro_usd) for cap in caps if cap.scope == "transcribe"}


def test_a_dead_letter_is_looked_at_and_redriven(
    page: Page, client: Client, running: Running, tmp_path: Path
) -> None:
    letter = letter_of(client, running, tmp_path)
    page.goto("/#/pipeline")
    shown = page.locator("details.letter").filter(has_text="not a media file").first
    shown.locator("summary").click()
    expect(shown.get_by_role("region", name="Message")).to_contain_text("holiday.mp4")
    shown.get_by_role("button", name="Redrive").click()
    expect(page.locator(".toast")).to_have_text("The message is tried again.")
    query = "SELECT state FROM dead_letters WHERE id = %s"
    until(lambda: running.sql(query, letter)[0]["state"] == "redriven", "the letter to be redriven", 20)


def test_many_dead_letters_are_redriven_at_once(page: Page, client: Client, running: Running, tmp_path: Path) -> None:
    letters = [letter_of(client, running, tmp_path) for _ in range(3)]
    page.goto("/#/pipeline")
    page.locator("details.letter").filter(has_text="not a media file").first.wait_for()
    page.get_by_label("Stage", exact=True).select_option("media")
    page.get_by_role("button", name="Redrive all of Fetch").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text(re.compile(r"^Redrive ([3-9]|\d\d+) dead letters\?$"))
    assert barriers(page) == []
    dialog.get_by_role("button", name="Redrive them").click()
    expect(page.locator(".toast")).to_have_text(re.compile(r"^Redrive: ([3-9]|\d\d+) done\.$"))
    query = "SELECT count(*) AS redriven FROM dead_letters WHERE id = ANY(%s) AND state = 'redriven'"
    until(lambda: running.sql(query, letters)[0]["redriven"] == 3, "all three to be redriven", 20)


def test_a_stage_that_takes_nothing_new_is_not_silent_about_it(page: Page, running: Running) -> None:
    shut = "INSERT INTO gates (stage, name, until, allowed, closings) VALUES ('media', %s, now() + '7 min', 1, 1)"
    running.sql(f"{shut} RETURNING stage", DEAD_GATE)
    try:
        page.goto("/#/pipeline")
        said = page.locator(".note").filter(has_text="takes nothing new")
        expect(said).to_contain_text("Fetch takes nothing new: too many of its jobs ended as dead letters.")
        assert barriers(page) == []
    finally:
        running.sql("DELETE FROM gates WHERE (stage, name) = ('media', %s) RETURNING stage", DEAD_GATE)
    expect(said).to_have_count(0, timeout=20_000)


def test_offline_is_said_and_what_came_meanwhile_is_shown(page: Page, client: Client) -> None:
    page.goto("/")
    page.locator(".shares li, .state").first.wait_for()
    page.evaluate("window.theSame = true")
    page.context.set_offline(True)
    banner = page.locator("#offline")
    expect(banner).to_contain_text("You are offline")
    assert barriers(page) == []
    page.get_by_role("radio", name="Text").check()
    page.get_by_label("Text", exact=True).and_(page.locator("textarea")).fill("The miller opens the gate.")
    page.get_by_role("button", name="Add share").click()
    expect(page.get_by_role("alert").filter(has_text="The gateway does not answer")).to_be_visible()
    title = f"Shared meanwhile {uuid.uuid4()}"
    client.add(ShareRequest(text="The miller shuts the gate.", title=title))
    page.context.set_offline(False)
    expect(banner).to_be_hidden()
    expect(page.locator(".shares li").filter(has_text=title)).to_be_visible(timeout=60_000)
    expect(page.locator("textarea")).to_have_value("The miller opens the gate.")
    assert page.evaluate("window.theSame"), "it goes on by itself"


def test_an_upload_that_is_stopped_half_way_adds_nothing(page: Page, running: Running, tmp_path: Path) -> None:
    path = tmp_path / f"{uuid.uuid4()}.wav"
    path.write_bytes(JFK_WAV.read_bytes() * 8)
    page.goto("/")
    page.get_by_role("radio", name="File").check()
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    slow.send("Network.emulateNetworkConditions", limits)
    page.locator("#add-file").set_input_files(path)
    row = page.locator(".sending > *, .sending").filter(has_text=path.name).first
    expect(row).to_contain_text(re.compile(r"· [1-9]\d? %"), timeout=30_000)
    assert barriers(page) == []
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".toast")).to_have_text(f"{path.name} was stopped; nothing was added.")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    received = StackPaths(running.ready_file.parent / "data").blobs / ".uploads"
    until(lambda: not list(received.iterdir()), "what was received to be deleted", 20)
    assert running.sql("SELECT 1 FROM shares WHERE filename = %s", path.name) == []


def test_a_stream_that_was_lost_goes_on_by_itself(page: Page, client: Client, running: Running) -> None:
    page.goto("/")
    page.locator(".shares li, .state").first.wait_for()
    page.evaluate("window.theSame = true")
    running.wait_restarted("api_gateway", running.kill("api_gateway"))
    title = f"Shared after that {uuid.uuid4()}"
    share = client.add(ShareRequest(text="The miller opens the gate.", title=title))
    row = page.locator(".shares li").filter(has_text=title)
    expect(row).to_be_visible(timeout=60_000)
    assert client.wait(share.share_id, within_s=60).state == "done"
    expect(row.locator(".badge")).to_have_text("Done")
    assert page.evaluate("window.theSame"), "nobody has loaded it again"


def test_figures_and_highlights_are_written_exactly(page: Page) -> None:
    page.goto("/")
    written = page.evaluate(
        """async () => {
            const f = await import("/static/format.js");
            return {
              money: [0, 1, 1865, 10000, 1500000, 1234567890, -42, null].map(f.money),
              clock: [0, 7999, 727000, 3727000].map(f.clock),
              hits: f.highlighted("\U0001f30a the mill", [[2, 5]]).filter((one) => one.hit).map((one) => one.text),
              segments: [0, 1999, 2000, 9000].map((ms) => f.segmentAt([{ start_ms: 500 }, { start_ms: 2000 }], ms)),
            };
        }"""
    )
    assert written == {
        "money": [
            *("$0.00", "$0.000001", "$0.001865", "$0.01", "$1.50", "$1,234.56789"),
            *("\N{MINUS SIGN}$0.000042", "\N{EN DASH}"),
        ],
        "clock": ["0:00", "0:07", "12:07", "1:02:07"],
        "hits": ["the"],
        "segments": [-1, 0, 1, 1],
    }


def test_the_first_view_is_small(browser: Browser, running: Running) -> None:
    """How soon it is there is measured by `python -m benchmarks.page`."""
    with tab(browser, running) as cold:
        assert 0 < transferred(cold, "/") <= MOST_BYTES


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_view_is_for_everybody(
    *,
    browser: Browser,
    speech: str,
    client: Client,
    running: Running,
    tmp_path: Path,
    size: tuple[int, int],
    scheme: Scheme,
) -> None:
    letter_of(client, running, tmp_path)
    views = {
        "home": ("#/", ".shares li, .state"),
        "share": (f"#/shares/{speech}", ".lines li"),
        "search": (f"#/search?q={WORDS.replace(' ', '+')}", ".hits li"),
        "like": (f"#/search?like={speech}", ".hits li, .state"),
        "costs": ("#/costs", ".gauge"),
        "pipeline": ("#/pipeline", "details.letter"),
        "nowhere": ("#/none", ".state"),
    }
    kept = Path(os.environ.get("MILLRACE_TEST_SCREENSHOTS") or tmp_path)
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[str]] = {}
    for name, (path, ready) in views.items():
        with tab(browser, running, size, scheme) as page:
            seen = Seen(page)
            page.goto(f"/{path}")
            page.locator(ready).first.wait_for()
            expect(page.locator(".loading")).to_have_count(0)
            shoot(page, kept, f"{name}-{size[0]}-{scheme}")
            wide = ["wider than the screen"] if wider_than_screen(page) else []
            found[name] = [*wide, *barriers(page), *seen.complaints]
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


def test_a_link_signs_a_browser_in_and_leaves_no_trace_of_itself(browser: Browser, running: Running) -> None:
    address, folder = running.addresses["gateway"], StackPaths(running.ready_file.parent / "data")
    secret = folder.secret.read_text().strip()
    with tab(browser, running, signed_in=False) as page:
        page.goto("/")
        page.get_by_label("Token").wait_for()
        page.goto("about:blank")
        page.goto(sign_in_link(address, secret, "local", datetime.now(UTC)))
        page.get_by_role("button", name="Add share").wait_for()
        assert "sign-in" not in page.url
        page.reload()
        page.get_by_role("button", name="Add share").wait_for()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
