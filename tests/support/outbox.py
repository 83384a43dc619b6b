"""A producer that confirms at once and remembers what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sent:
    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    is_tombstone: bool = False


@dataclass
class Outbox:
    """A producer that confirms at once and remembers; it may die before or after."""

    sent: list[Sent] = field(default_factory=list)
    step: Callable[[], None] = lambda: None

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        await self.before(topic)
        self.step()
        self.sent.append(Sent(topic, key, value or b"", dict(headers), is_tombstone=value is None))
        self.step()

    async def before(self, topic: str) -> None:
        """What keeps a message back, or refuses it."""

    def to(self, topic: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.topic == topic]
