"""What the database noted about every piece of work while workers were hurt, and what must not be in it. Pure but for
`watch_database` and `read`, which know nothing of the store's code: triggers note what really happened to the rows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import psycopg

Harm: TypeAlias = Literal["kill", "pause", "leave", "ended", "database"]

_TRIGGERS = """
CREATE TABLE chaos_log (
    seq bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL, work_key text NOT NULL, owner text, fence bigint
);
CREATE FUNCTION chaos_note_work() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE what text := CASE
    WHEN TG_OP = 'INSERT' OR NEW.fence <> OLD.fence THEN 'claimed'
    WHEN OLD.result IS NULL AND NEW.result IS NOT NULL THEN 'completed'
    WHEN OLD.result IS DISTINCT FROM NEW.result THEN 'changed'
    WHEN NEW.lease_until < now() THEN 'given back'
END;
BEGIN
    IF what IS NOT NULL THEN
        INSERT INTO chaos_log (what, work_key, owner, fence) VALUES (what, NEW.work_key, NEW.owner, NEW.fence);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_note_call() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_log (what, work_key) VALUES ('unknown', NEW.work_key);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note_work AFTER INSERT OR UPDATE ON work FOR EACH ROW EXECUTE FUNCTION chaos_note_work();
CREATE TRIGGER chaos_note_call AFTER UPDATE ON calls FOR EACH ROW
    WHEN (NEW.state = 'unconfirmed' AND OLD.state <> 'unconfirmed') EXECUTE FUNCTION chaos_note_call();
"""


class Noted(NamedTuple):
    """What happened to a piece of work: claimed, given back, completed, changed (its result), unknown (a call's end).

    `at` in seconds since the epoch; `pid` is the owner's.
    """

    at: float
    what: str
    work_key: str
    pid: int
    fence: int


class Hurt(NamedTuple):
    """What was done to a process (None: to the database) from `start` to `end`, in seconds since the epoch."""

    what: Harm
    pid: int | None
    start: float
    end: float


def watch_database(postgres: str) -> None:
    """Let the database note what happens from now on."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(_TRIGGERS.encode())


def read(postgres: str) -> list[Noted]:
    """Everything that was noted, in order."""
    sql = b"SELECT extract(epoch FROM at)::float8, what, work_key, owner, fence FROM chaos_log ORDER BY seq"
    with psycopg.connect(postgres) as connection:
        rows = connection.execute(sql).fetchall()
    return [
        Noted(at, what, key, int(owner.split(":")[1]) if owner else 0, fence or 0)
        for at, what, key, owner, fence in rows
    ]


def not_completed_once(noted: Iterable[Noted], keys: Iterable[str]) -> list[str]:
    """Works without exactly one completion, or with a result that changed afterwards."""
    noted = list(noted)
    completed = Counter(one.work_key for one in noted if one.what == "completed")
    changed = {one.work_key for one in noted if one.what == "changed"}
    return [
        *(f"work {key} was completed {completed[key]} times" for key in sorted(set(keys)) if completed[key] != 1),
        *(f"the result of work {key} changed" for key in sorted(changed)),
    ]


def unknown_outcomes(noted: Iterable[Noted]) -> Counter[str]:
    """How many calls of each work ended, at least for a time, without anybody knowing how."""
    return Counter(one.work_key for one in noted if one.what == "unknown")


def taken_from_the_living(noted: Iterable[Noted], hurts: Sequence[Hurt]) -> list[str]:
    """Work that somebody took over although its owner was well and had not given it back."""
    wrong: list[str] = []
    for key, story in _by_work(noted).items():
        for before, after in pairwise(story):
            if before.what == after.what == "claimed" and not _excused(before, after, hurts):
                wrong.append(f"work {key} was taken from process {before.pid} by {after.pid}, though it was well")
    return wrong


def _excused(before: Noted, after: Noted, hurts: Iterable[Hurt]) -> bool:
    return any(hurt.pid in (None, before.pid) and hurt.start <= after.at and hurt.end >= before.at for hurt in hurts)


def takeovers(noted: Iterable[Noted], hurts: Iterable[Hurt]) -> list[float]:
    """For each piece of work whose owner was killed: seconds until somebody had it. Infinite: nobody ever had."""
    found: list[float] = []
    kills = {hurt.pid: hurt.start for hurt in hurts if hurt.what == "kill"}
    for story in _by_work(noted).values():
        for number, one in enumerate(story):
            killed_at = kills.get(one.pid)
            if one.what != "claimed" or killed_at is None:
                continue
            after = story[number + 1].at if number + 1 < len(story) else math.inf
            if after > killed_at:
                found.append(after - killed_at)
    return found


def _by_work(noted: Iterable[Noted]) -> dict[str, list[Noted]]:
    stories: dict[str, list[Noted]] = defaultdict(list)
    for one in noted:
        if one.what != "unknown":
            stories[one.work_key].append(one)
    return stories
