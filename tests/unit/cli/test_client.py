from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from millrace.cli.client import ApiError, Client, NotSettled
from millrace.contracts.share_api import ShareRequest
from millrace.errors import ConfigurationError, Unavailable

SHARE = {
    "share_id": "s",
    "account": "default",
    "owner": "local",
    "source_kind": "text",
    "platform": "web",
    "content_type": "article",
    "created_at": "2030-01-01T00:00:00Z",
    "stages": [],
}
Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> Client:
    return Client("http://gateway:1", transport=httpx.MockTransport(answer))


def accepted(request: httpx.Request) -> httpx.Response:
    request.read()
    return httpx.Response(202, json={"share_id": "s", "href": "/shares/s", "stages": ["embed"], "new_field": 1})


def test_a_file_is_sent_as_a_form_while_progress_is_told(tmp_path: Path) -> None:
    file, told = tmp_path / "talk.mp4", list[tuple[int, int]]()
    file.write_bytes(b"x" * 200_000)
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return accepted(request)

    with client(answer) as api:
        request = ShareRequest(title="T", tags=["a", "b"])
        got = api.upload(file, request, progress=lambda *seen: told.append(seen), idempotency_key="k")
    assert got.share_id == "s"
    assert told[-1] == (200_000, 200_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 3
    body = sent[0].content
    assert body.count(b"x" * 200_000) == 1
    assert body.count(b'name="tags"') == 2
    assert sent[0].headers["idempotency-key"] == "k"
    assert "content_type" not in body.decode()


def test_a_refusal_is_its_sentence() -> None:
    document = {"title": "Too large", "status": 413, "detail": "Too much."}
    with client(lambda _: httpx.Response(413, json=document)) as api, pytest.raises(ApiError, match=r"^Too much\.$"):
        api.add(ShareRequest(text="x"))


def test_a_gateway_that_is_not_there_or_not_one_is_said() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with client(refuse) as api, pytest.raises(Unavailable, match="is it running"):
        api.budget()
    with (
        client(lambda _: httpx.Response(200, text="<html>")) as api,
        pytest.raises(Unavailable, match="not a Millrace"),
    ):
        api.budget()


def test_a_file_that_cannot_be_opened_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with client(accepted) as api, pytest.raises(ConfigurationError, match="cannot be opened"):
        api.upload(tmp_path / "none", ShareRequest())


def test_bytes_that_are_no_text_are_said_and_a_file_may_have_them_in_its_name(tmp_path: Path) -> None:
    file, names = tmp_path / "talk-\udcff.mp4", list[str]()
    file.write_bytes(b"x")

    def answer(request: httpx.Request) -> httpx.Response:
        names.append(request.read().decode().split('filename="')[1].split('"')[0])
        return accepted(request)

    with client(answer) as api:
        assert api.upload(file, ShareRequest()).share_id == "s"
        assert names == ["talk-\ufffd.mp4"]
        with pytest.raises(ConfigurationError, match="not text in UTF-8"):
            api.add(ShareRequest.model_construct(text="\udcff"))
        with pytest.raises(ConfigurationError, match="not text in UTF-8"):
            api.search("\udcff")
        with pytest.raises(ConfigurationError, match="not text in UTF-8"):
            api.share("\udcff")


def test_an_id_stays_one_segment_of_the_path() -> None:
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json=SHARE | {"state": "done"})

    with client(answer) as api:
        api.share("../budget?x")
    assert paths == [b"/shares/..%2Fbudget%3Fx"]


def test_waiting_ends_when_a_share_settles_and_shows_every_look() -> None:
    states = iter(["queued", "running", "parked"])
    seen: list[str] = []
    with client(lambda _: httpx.Response(200, json=SHARE | {"state": next(states)})) as api:
        view = api.wait("s", within_s=60, seen=lambda view: seen.append(view.state), sleep=lambda _: None)
    assert view.state == "parked"
    assert seen == ["queued", "running", "parked"]


def test_waiting_gives_up_in_time() -> None:
    now = iter(range(100))
    with (
        client(lambda _: httpx.Response(200, json=SHARE | {"state": "running"})) as api,
        pytest.raises(NotSettled, match="still running after 5 s"),
    ):
        api.wait("s", within_s=5, sleep=lambda _: None, clock=lambda: float(next(now)))


def test_a_search_asks_for_what_differs_from_the_usual() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json={"query": "q", "mode": "hybrid", "hits": [], "next": "10.h.0123456789abcdef"})

    with client(answer) as api:
        following = api.search("q").next
        api.search("q", two_phase=True, cursor=following, kind="url")
    usual = {"q": "q", "limit": "10", "mode": "hybrid"}
    assert asked == [usual, {**usual, "two_phase": "true", "cursor": "10.h.0123456789abcdef", "kind": "url"}]
