"""The ledger's state as rows with typed keys, and their bytes on the internal rows topic. Pure.

The bytes are canonical (fixed order of fields, no spaces): the digest of a partition's rows is computed over them.
Rows are named tuples because they are made by the thousand: a frozen dataclass takes four times as long.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from pydantic_core import from_json, to_json

from millrace.contracts.events import CapMode, HoldState, Window

TOTAL: Final = "total"
"""Scope that sums an account's scopes."""


class WindowKey(NamedTuple):
    """An account's spend of one scope in one window; `start` in milliseconds."""

    account: str
    scope: str
    window: Window
    start: int


class CapKey(NamedTuple):
    """A limit; the account may be `default`."""

    account: str
    scope: str
    window: Window


class HoldKey(NamedTuple):
    """A decided reservation."""

    account: str
    request_id: str


class WindowRow(NamedTuple):
    """Sums of one window in micro-US-dollars; `settled` includes `overrun`, the part above the holds."""

    settled: int = 0
    held: int = 0
    unconfirmed: int = 0
    overrun: int = 0
    calls: int = 0

    @property
    def used(self) -> int:
        """What counts against a cap: spent, held, and what may have been spent."""
        return self.settled + self.held + self.unconfirmed

    def plus(self, other: WindowRow) -> WindowRow:
        """Both together; the ledger uses it to add the effect of a decision."""
        return WindowRow(
            self.settled + other.settled,
            self.held + other.held,
            self.unconfirmed + other.unconfirmed,
            self.overrun + other.overrun,
            self.calls + other.calls,
        )


class CapRow(NamedTuple):
    """A cap in micro-US-dollars (None: no limit) and the request that set it.

    `filed` and `filed_mode` keep what the budgets file said last, so that a cap which a person changed at run time
    stays until the file itself changes.
    """

    cap: int | None
    mode: CapMode
    set_by: str
    filed: int | None = None
    filed_mode: CapMode | None = None


class HoldRow(NamedTuple):
    """A reservation: its answer, for repeats, and what became of it. Times in milliseconds.

    `ended_at` is the log's time when it was settled, released or denied; None while it counts.
    """

    scope: str
    state: HoldState
    amount: int
    hour: int
    day: int
    expires_at: int
    ended_at: int | None = None
    actual: int = 0
    overrun: int = 0
    denied_by: str | None = None
    left: int | None = None
    cap: int | None = None
    room_at: int | None = None
    share_id: str | None = None
    model: str | None = None
    work_key: str | None = None
    reason: str | None = None


class Position(NamedTuple):
    """How far a partition is decided; written in the transaction of the decisions themselves.

    `offset` is that of the last request, `at` the latest append time so far, `day` the day that was opened last and
    `digest` the digest of all other rows.
    """

    offset: int = -1
    at: int = 0
    day: int = -1
    digest: int = 0


class Fence(NamedTuple):
    """Written by a new owner after fencing the old one: no row of anybody else can come after it."""

    owner: str


Key: TypeAlias = WindowKey | CapKey | HoldKey
Row: TypeAlias = WindowRow | CapRow | HoldRow

POSITION_KEY: Final = b'["position"]'
FENCE_KEY: Final = b'["fence"]'
_KEYS: Final = {"window": WindowKey, "cap": CapKey, "hold": HoldKey}
_ROWS: Final = {"window": WindowRow, "cap": CapRow, "hold": HoldRow}
_TAGS: Final = {WindowKey: "window", CapKey: "cap", HoldKey: "hold"}


def encode_key(key: Key) -> bytes:
    """Bytes of a row's key."""
    return to_json((_TAGS[type(key)], *key))


def encode_row(row: Row | Position | Fence) -> bytes:
    """Bytes of a row."""
    return to_json(row)


def decode(key: bytes, value: bytes) -> tuple[Key, Row]:
    """A row from its bytes.

    :raises ValueError: when they are not what this version writes.
    """
    try:
        tag, *parts = from_json(key)
        return _KEYS[tag](*parts), _ROWS[tag](*from_json(value))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"a ledger row is not readable: {key[:100]!r}") from exc


def decode_position(value: bytes) -> Position:
    """The position row from its bytes."""
    return Position(*from_json(value))


def row_digest(key: bytes, value: bytes) -> int:
    """64 bits over one row; a partition's digest is the exclusive or of all of them."""
    return int.from_bytes(blake2b(key + b"=" + value, digest_size=8).digest(), "big")
