"""The wire format gives back what was written, and refuses everything else without a leak."""

from __future__ import annotations

import contextlib
import json
import struct
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CostAlert, Event, ShareCreated, TaskStatus
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError, Poison, Unavailable
from millrace.testing.registry import InMemoryRegistry
from millrace.testing.strategies import events

CATALOG = Catalog.load()
NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
STATUS = TaskStatus(share_id="s", stage="media", state="queued", updated_at=NOW)
TOPICS = [subject.removesuffix("-value") for subject in CATALOG.subjects()]
SECRET = "a-secret-nobody-may-log"
HUGE_LENGTH = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # 2^63 - 1 as Avro writes a long


@pytest.fixture
def registry() -> InMemoryRegistry:
    return InMemoryRegistry.holding(CATALOG)


async def _connected(registry: InMemoryRegistry) -> Codec:
    return await Codec.connect(registry, CATALOG, TOPICS)


@pytest.fixture
async def codec(registry: InMemoryRegistry) -> Codec:
    return await _connected(registry)


def _messages() -> st.SearchStrategy[tuple[str, Event]]:
    return st.sampled_from(TOPICS).flatmap(
        lambda topic: st.tuples(st.just(topic), events(CATALOG.schema_for(topic).event_type))
    )


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(message=_messages())
async def test_any_event_comes_back_as_it_was(codec: Codec, message: tuple[str, Event]) -> None:
    topic, event = message
    assert await codec.decode(topic, codec.encode(topic, event)) == event


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(topic=st.sampled_from(TOPICS), raw=st.binary(max_size=200), framed=st.booleans())
async def test_random_bytes_are_poison_or_an_event_and_nothing_else(
    codec: Codec, topic: str, raw: bytes, framed: bool
) -> None:
    if framed:
        schema_id = InMemoryRegistry.holding(CATALOG).lookup(f"{topic}-value", CATALOG.schema_for(topic).text)
        raw = struct.pack(">bI", 0, schema_id) + raw
    with contextlib.suppress(Poison):
        assert isinstance(await codec.decode(topic, raw), Event)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(message=_messages(), data=st.data())
async def test_a_damaged_message_is_poison_or_an_event_and_nothing_else(
    codec: Codec, message: tuple[str, Event], data: st.DataObject
) -> None:
    topic, event = message
    raw = bytearray(codec.encode(topic, event))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Poison):
        assert isinstance(await codec.decode(topic, bytes(raw)), Event)


async def test_every_truncation_is_poison(codec: Codec) -> None:
    raw = codec.encode("task.status", STATUS)
    for length in range(len(raw)):
        with pytest.raises(Poison):
            await codec.decode("task.status", raw[:length])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: b"", "0 bytes on task.status is too short"),
        (lambda raw: b"{" + raw[1:], "does not begin with the zero byte"),
        (lambda raw: struct.pack(">bI", 0, 4242) + raw[5:], "does not know the schema id 4242"),
        (lambda raw: raw + b"\x00", "has 1 bytes behind its task.status.v1"),
        (lambda raw: raw[:5] + HUGE_LENGTH + raw[5:], r"cannot be read as task\.status\.v1 \(EOFError\)"),
        (
            lambda raw: raw[:5] + b"\x04\xff\xfe" + raw[7:],
            r"cannot be read as task\.status\.v1 \(UnicodeDecodeError\)",
        ),
        (lambda raw: raw[:-6] + HUGE_LENGTH, r"cannot be read as task\.status\.v1 \(OverflowError\)"),
        (lambda raw: raw.replace(b"queued", b"dreams"), r"is not a valid task\.status\.v1 \(state: literal_error\)"),
        (lambda raw: raw[:5] + b"\x00" * 1_100_000, r"1100005 bytes is larger than task\.status takes"),
    ],
    ids=[
        "empty",
        "magic",
        "unknown id",
        "trailing",
        "huge length",
        "not UTF-8",
        "year 292 million",
        "unknown word",
        "too large",
    ],
)
async def test_what_cannot_be_decoded_says_why(codec: Codec, spoil: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        await codec.decode("task.status", spoil(codec.encode("task.status", STATUS)))


async def test_errors_and_their_causes_do_not_quote_the_message(codec: Codec) -> None:
    status = STATUS.model_copy(update={"share_id": SECRET, "reason": SECRET})
    raw = codec.encode("task.status", status)
    share = ShareCreated(
        share_id="s",
        owner="o",
        source_kind="text",
        platform="web",
        content_type="post",
        created_at=NOW,
        options={SECRET: "x"},
    )
    spoiled = [
        ("task.status", codec.encode("task.status", STATUS.model_copy(update={"state": SECRET}))),
        ("task.status", raw[:-1]),
        ("task.status", raw + SECRET.encode()),
        ("share.created", codec.encode("share.created", share).replace(b"text", b"test")),
        ("share.created", codec.encode("share.created", share).replace(b"\x02x", b"\x02\xff")),
    ]
    for topic, bad in spoiled:
        with pytest.raises(Poison) as caught:
            await codec.decode(topic, bad)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_lengths_from_a_hostile_sender_cost_neither_time_nor_memory(codec: Codec) -> None:
    share = ShareCreated(
        share_id="s",
        owner="o",
        source_kind="text",
        platform="web",
        content_type="post",
        created_at=NOW,
        tags=["only-tag"],
    )
    raw = codec.encode("share.created", share)
    tags = raw.index(b"\x02\x10only-tag")  # one block of one item of eight bytes
    started = time.monotonic()
    for count in (HUGE_LENGTH, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):  # 2^63 - 1 items, and -2^63
        with pytest.raises(Poison):
            await codec.decode("share.created", raw[:tags] + count + raw[tags + 1 :])
    with pytest.raises(Poison):
        await codec.decode("share.created", raw[:5] + b"\x80" * 2_000_000)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (STATUS.model_copy(update={"reason": "\ud800"}), "UnicodeEncodeError"),
        (STATUS.model_copy(update={"cost_micro_usd": 2**63}), "OverflowError"),
        (STATUS.model_copy(update={"reason": "x" * 1_100_000}), "larger than task.status takes"),
    ],
    ids=["lone surrogate", "beyond 64 bits", "too large"],
)
async def test_what_no_reader_could_read_is_not_written(codec: Codec, event: TaskStatus, why: str) -> None:
    with pytest.raises(Poison, match=why):
        codec.encode("task.status", event)


async def test_a_record_goes_only_to_its_own_topic(codec: Codec) -> None:
    with pytest.raises(TypeError, match=r"share\.created carries ShareCreated, not TaskStatus"):
        codec.encode("share.created", STATUS)


async def test_a_topic_that_was_not_asked_for_cannot_be_written_but_read(registry: InMemoryRegistry) -> None:
    codec = await Codec.connect(registry, CATALOG, ["share.created"])
    with pytest.raises(ConfigurationError, match=r"not connected for task\.status"):
        codec.encode("task.status", STATUS)
    raw = (await _connected(registry)).encode("task.status", STATUS)
    assert await codec.decode("task.status", raw) == STATUS


async def test_all_missing_schemas_are_named_with_the_cure() -> None:
    empty = InMemoryRegistry()
    with pytest.raises(
        ConfigurationError, match=r"task.status.v1 under task.status-value, .*millrace schemas register"
    ):
        await Codec.connect(empty, CATALOG, ["task.status", "media.requested"])
    assert empty.lookup("task.status-value", CATALOG.schema("task.status").text) is None, "nothing may be registered"


async def test_a_registry_that_is_away_makes_nothing_poison(registry: InMemoryRegistry, codec: Codec) -> None:
    raw = codec.encode("task.status", STATUS)
    registry.down = True
    with pytest.raises(Unavailable):
        await codec.decode("task.status", raw)
    registry.down = False
    assert await codec.decode("task.status", raw) == STATUS
    registry.down = True
    assert await codec.decode("task.status", raw) == STATUS, "the schema is cached by now"
    assert len(registry.asked) == 1


async def test_an_unknown_id_is_asked_for_again_once_it_is_registered(
    registry: InMemoryRegistry, codec: Codec
) -> None:
    newer = _changed("cost.alerts", lambda fields: fields.append({"name": "note", "type": "string", "default": ""}))
    elsewhere = InMemoryRegistry.holding(CATALOG)
    raw = struct.pack(">bI", 0, elsewhere.register("cost.alerts-value", newer)) + _alert(codec)[5:] + b"\x08next"
    with pytest.raises(Poison, match="does not know the schema id"):
        await codec.decode("cost.alerts", raw)
    registry.register("cost.alerts-value", newer)
    assert isinstance(await codec.decode("cost.alerts", raw), CostAlert)


async def test_an_older_reader_reads_a_newer_writer(registry: InMemoryRegistry, codec: Codec) -> None:
    newer = _changed("cost.alerts", lambda fields: fields.append({"name": "note", "type": "string", "default": ""}))
    schema_id = registry.register("cost.alerts-value", newer)
    raw = struct.pack(">bI", 0, schema_id) + _alert(codec)[5:] + b"\x08next"
    assert await codec.decode("cost.alerts", raw) == await codec.decode("cost.alerts", _alert(codec))


async def test_a_schema_of_another_record_is_poison(codec: Codec) -> None:
    alert = _alert(codec)
    with pytest.raises(Poison, match=r"cannot be read as task\.status\.v1 \(SchemaResolutionError\)"):
        await codec.decode("task.status", alert)


def _changed(name: str, change: Callable[[list[dict[str, Any]]], object]) -> str:
    schema = json.loads(CATALOG.schema(name).text)
    change(schema["fields"])
    return json.dumps(schema)


def _alert(codec: Codec) -> bytes:
    example = next(e for e in CATALOG.examples if e.schema.name == "cost.alerts")
    return codec.encode("cost.alerts", CostAlert.model_validate_json(example.text))
