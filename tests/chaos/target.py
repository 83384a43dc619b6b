"""The stages that chaos can hurt, and what is shared for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from examples.links.stage import LinksReady
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ResultEvent, ShareCreated, ShareEvent, SummaryReady, TranscriptReady
from tests.support.process import ROOT
from tests.support.provider import Reply, summary

LINKS_CONTRACTS: Final = ROOT / "examples" / "links" / "schemas"


@dataclass(frozen=True)
class Target:
    """A stage: the topic that it reads, what it writes, and the event about a text, by share and account."""

    stage: str
    module: str
    reads: str
    writes: str
    result: type[ResultEvent]
    event: Callable[[str, str, str], ShareEvent]
    reply: Reply
    contracts: tuple[Path, ...] = ()
    records: Mapping[str, type[ResultEvent]] = field(default_factory=dict)

    @property
    def requested(self) -> str:
        """Topic of its commands."""
        return f"{self.stage}.requested"

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"millrace-{self.stage}-agent"

    def catalog(self) -> Catalog:
        """The contracts that are in force where it runs."""
        return Catalog.load(more=self.contracts, records=self.records)


def _text_share(share: str, text: str, account: str) -> ShareCreated:
    return ShareCreated(
        share_id=share,
        account=account,
        owner="chaos",
        source_kind="text",
        text=text,
        platform="web",
        content_type="article",
        created_at=datetime.now(UTC),
    )


def _transcript(share: str, text: str, account: str) -> TranscriptReady:
    return TranscriptReady(
        share_id=share,
        account=account,
        text=text,
        duration_ms=1000,
        billed_ms=1000,
        backend="local",
        model="chaos",
        work_key=f"transcribe:{share}",
        produced_at=datetime.now(UTC),
    )


SUMMARIZE: Final = Target(
    "summarize", "services.summarize_agent", "share.created", "summary.ready", SummaryReady, _text_share, summary
)
LINKS: Final = Target(
    "links",
    "examples.links.stage",
    "transcript.ready",
    "links.ready",
    LinksReady,
    _transcript,
    lambda _: {"links": ["mill.example/race"]},
    contracts=(LINKS_CONTRACTS,),
    records={"links.ready": LinksReady},
)
TARGETS: Final = {target.stage: target for target in (SUMMARIZE, LINKS)}
