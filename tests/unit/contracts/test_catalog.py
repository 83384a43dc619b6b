"""The catalogue is whole, and says what is wrong with one that is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import EVENT_TYPES
from millrace.contracts.folders import schemas_root
from millrace.errors import ConfigurationError

STAGES = ("media", "transcribe", "summarize", "embed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(schemas_root(), tmp_path / "schemas"))


def test_every_topic_of_the_architecture_is_declared_with_its_cleanup() -> None:
    topics = Catalog.load().topics
    compacted = {name for name, topic in topics.items() if topic.cleanup == "compact"}
    events = {"share.created", "media.ready", "transcript.ready", "summary.ready", "embedding.ready"}
    commands = {f"{stage}.requested" for stage in STAGES}
    local = {f"{stage}.requested.local" for stage in STAGES if stage != "media"}
    dead = {f"{stage}.dead" for stage in STAGES}
    changelogs = {f"millrace-cost-ledger-{table}_spend-changelog" for table in ("hourly", "daily")}
    assert compacted == {"task.status", "cost.rows", "cost.spend", *changelogs}
    assert topics.keys() - compacted == events | commands | local | dead | {
        "cost.requests",
        "cost.decisions",
        "cost.alerts",
    }


def test_budgets_are_decided_on_the_brokers_clock() -> None:
    catalog = Catalog.load()
    stamped = [
        t.name for t in catalog.topics.values() if t.kafka_config()["message.timestamp.type"] == "LogAppendTime"
    ]
    assert stamped == ["cost.requests"]


def test_partition_counts_of_money_never_change() -> None:
    for topic in Catalog.load().topics.values():
        assert topic.partitions == 4
        assert topic.partitions_fixed == (topic.name.startswith("cost.") or topic.changelog), topic.name


def test_a_whole_event_fits_into_a_command_and_a_command_into_a_dead_letter() -> None:
    catalog = Catalog.load()
    largest_event = catalog.topic("transcript.ready").max_message_bytes
    for stage in STAGES:
        command = catalog.topic(f"{stage}.requested").max_message_bytes
        assert command > largest_event >= catalog.topic("share.created").max_message_bytes
        assert catalog.topic(f"{stage}.dead").max_message_bytes > command


def test_internal_topics_and_dead_letters_have_no_subject() -> None:
    catalog = Catalog.load()
    without = {topic.name for topic in catalog.topics.values() if topic.subject is None}
    assert without == {
        name for name in catalog.topics if name.endswith((".dead", "-changelog")) or name == "cost.rows"
    }
    assert "transcribe.requested.local-value" in catalog.subjects()
    with pytest.raises(ConfigurationError, match=r"media\.dead carries no Avro schema"):
        catalog.schema_for("media.dead")


def test_every_record_has_a_schema_and_every_schema_a_record() -> None:
    assert Catalog.load().schemas.keys() == EVENT_TYPES.keys()


def test_what_is_written_is_named_by_the_topic_and_what_reads_is_the_newest(folder: Path) -> None:
    _copy("avro/embedding.ready.v1.avsc", "avro/embedding.ready.v2.avsc")(folder)
    catalog = Catalog.load(folder)
    assert catalog.written_schema_for("embedding.ready").version == 1
    assert catalog.schema_for("embedding.ready").version == 2
    assert [schema.version for schema in catalog.subjects()["embedding.ready-value"]] == [1, 2]
    with pytest.raises(ConfigurationError, match=r"no schemas/avro/embedding\.ready\.v3\.avsc"):
        catalog.schema_for("embedding.ready", 3)


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / "topics.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return edit


def _add(name: str, text: str) -> Callable[[Path], None]:
    def add(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return add


def _copy(name: str, to: str) -> Callable[[Path], None]:
    return lambda folder: _add(to, (folder / name).read_text())(folder)


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (_edit("  media.ready:", "  media_ready:"), "topic media_ready: .*never underscores"),
        (_edit("embedding.ready.v1", "embedding.ready.v2"), r"names embedding\.ready\.v2, but there is no avro/"),
        (_edit("embedding.ready.v1", "avro"), "avro is not raw, none or a schema"),
        (_edit("retention: 30d", "retention: 30 fortnights"), "fortnights is not one of d, h"),
        (_edit("    owner: media_agent\n", ""), "topic media.ready: owner: Field required"),
        (_edit("owner: media_agent", "owner: media_agent\n    colour: red"), "topic media.ready: colour"),
        (_edit("defaults:", "default:"), "'defaults'"),
        (_copy("avro/media.ready.v1.avsc", "avro/media.done.v1.avsc"), "no topic carries the schema media.done"),
        (
            _copy("avro/embedding.ready.v1.avsc", "avro/embedding.ready.v3.avsc"),
            "versions of embedding.ready are not 1, 2",
        ),
        (_add("avro/notes.txt", ""), "notes.txt is not named"),
        (_add("avro/media.ready.v1.avsc", '{"type": "recrod"}'), "recrod"),
        (_add("examples/embedding.ready/v2/new.json", "{}"), r"embedding.ready/v2/new.json belongs to no schema"),
        (_add("examples/media.ready/lost.json", "{}"), "examples.media.ready is not"),
    ],
)
def test_what_does_not_fit_together_is_named(folder: Path, break_it: Callable[[Path], None], complaint: str) -> None:
    break_it(folder)
    with pytest.raises(ConfigurationError, match=complaint):
        Catalog.load(folder)


LINKS = Path(__file__).parents[3] / "examples" / "links" / "schemas"


def test_a_folder_adds_a_stage_with_all_its_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CONTRACTS", str(LINKS))
    catalog = Catalog.load()
    assert list(catalog.stages) == [*STAGES, "links"]
    assert catalog.topics.keys() - Catalog.load(more=()).topics.keys() == {
        "links.ready",
        "links.requested",
        "links.dead",
    }
    assert catalog.scopes == ("transcribe", "summarize", "embed", "links", "search", "total")
    assert catalog.later("summarize") == ["summarize", "embed", "links"]
    assert "links.ready-value" in catalog.subjects()
    with pytest.raises(ConfigurationError, match=r"no record for links\.ready\.v1"):
        _ = catalog.schema_for("links.ready").event_type


def test_two_folders_cannot_say_something_about_the_same() -> None:
    with pytest.raises(ConfigurationError, match=r"says again what links\.dead, links\.ready, links\.requested is"):
        Catalog.load(more=(LINKS, LINKS))


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("Links: {module: a.b, reads: [share.created], writes: media.ready}", "stage Links: .*should match pattern"),
        ("li-nks: {module: a.b, reads: [share.created], writes: media.ready}", "stage li-nks: "),
        ("links: {module: a b, reads: [share.created], writes: media.ready}", "stage links: module: "),
        ("links: {}", "stage links: module: Field required"),
        ("links: {module: a.b, reads: [share.created], writes: media.ready, colour: red}", "stage links: colour: "),
        ("links: {module: a.b, reads: [], writes: media.ready}", "stage links: reads: "),
        ("links: {module: a.b, reads: [a.b], writes: media.ready}", "the stage links names the topic a.b"),
        ("links: {module: a.b, reads: [share.created], writes: c.d}", "the stage links names the topic c.d"),
    ],
)
def test_a_stage_that_cannot_be_one_is_named(tmp_path: Path, entry: str, complaint: str) -> None:
    (tmp_path / "avro").mkdir()
    (tmp_path / "topics.yaml").write_text(f"stages:\n  {entry}\n")
    with pytest.raises(ConfigurationError, match=complaint):
        Catalog.load(more=(tmp_path,))
