from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.ids import WorkKey, content_hash, event_id, request_id, work_key

parameters = st.dictionaries(
    st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(), st.booleans()), max_size=4
)


@given(parameters)
def test_work_key_does_not_depend_on_the_order_of_parameters(given_parameters: dict[str, str | int | bool]) -> None:
    backwards = dict(reversed(given_parameters.items()))
    assert work_key("embed", "hash", "model", given_parameters) == work_key("embed", "hash", "model", backwards)


def test_work_key_tells_apart_what_is_different_work() -> None:
    keys = {
        work_key("transcribe", content_hash("a"), "tiny", {"language": "en"}),
        work_key("embed", content_hash("a"), "tiny", {"language": "en"}),
        work_key("transcribe", content_hash("b"), "tiny", {"language": "en"}),
        work_key("transcribe", content_hash("a"), "base", {"language": "en"}),
        work_key("transcribe", content_hash("a"), "tiny", {"language": "de"}),
        work_key("transcribe", content_hash("a"), "tiny", {}),
    }
    assert len(keys) == 6


@given(st.integers(0, 1000), st.integers(1, 100), st.integers(0, 1000), st.integers(1, 100))
def test_request_ids_are_equal_only_for_the_same_call_and_attempt(
    no: int, attempt: int, no2: int, attempt2: int
) -> None:
    work = WorkKey("embed:abc")
    assert (request_id(work, no, attempt) == request_id(work, no2, attempt2)) == ((no, attempt) == (no2, attempt2))


def test_holds_of_different_work_are_different() -> None:
    assert request_id(WorkKey("embed:abc"), 0, 1) != request_id(WorkKey("embed:abd"), 0, 1)


def test_an_event_emitted_again_has_the_same_id_and_no_other_has_it() -> None:
    assert event_id("media.ready", "s", "w") == event_id("media.ready", "s", "w")
    ids = {
        event_id("media.ready", "s", "w"),
        event_id("media.ready", "s2", "w"),
        event_id("media.ready", "s", "w2"),
        event_id("summary.ready", "s", "w"),
    }
    assert len(ids) == 4
