"""What agents write into `work.result` is what the gateway shows: nothing but these tests links the two."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Final

import pytest
from pydantic import BaseModel

from millrace.contracts.budget_api import AlertView
from millrace.contracts.events import Segment
from millrace.contracts.share_api import EmbeddingView, Receipt, ShareView, StageView, SummaryView, TranscriptView
from services.api_gateway import alerts, projections
from services.embed_agent.domain import EmbedResult
from services.summarize_agent.domain import SummarizeResult
from services.transcribe_agent.domain import TranscriptResult

SHOWN: Final[list[tuple[BaseModel, type[BaseModel], set[str]]]] = [
    (
        TranscriptResult(
            skipped_reason="silent",
            language="en",
            text="hello",
            segments=[Segment(start_ms=1, end_ms=2, text="hello")],
            segments_ref="blob",
            duration_ms=3,
            billed_ms=2,
            backend="api",
            model="whisper",
        ),
        TranscriptView,
        {"note"},
    ),
    (
        SummarizeResult(
            skipped_reason="too-short",
            source="transcript",
            summary="All of it.",
            key_points=["one"],
            tags=["mill"],
            category="craft",
            quality=0.5,
            language="en",
            backend="api",
            model="chat",
            tokens_in=1,
            tokens_out=2,
            truncated=True,
            parts=3,
            links=["https://example.org/mill"],
            emails=1,
            code_blocks=2,
        ),
        SummaryView,
        set(),
    ),
    (
        EmbedResult(
            skipped_reason="too-short",
            source="text",
            types=["text"],
            backend="local",
            model="wordllama",
            dimensions=256,
            chunker="paragraph",
            chunk_count=3,
            tokens=4,
        ),
        EmbeddingView,
        set(),
    ),
]
"""A result with every field filled, the gateway's view of it, and what of that the gateway says by itself."""


@pytest.mark.parametrize(("result", "view", "own"), SHOWN)
def test_a_result_is_shown_as_the_agent_wrote_it(result: BaseModel, view: type[BaseModel], own: set[str]) -> None:
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in type(result).model_fields.items()
    }
    assert [name for name, value in result if value == defaults[name]] == [], "the example fills every field"
    kept = json.loads(result.model_dump_json())
    shown = json.loads(view.model_validate(kept).model_dump_json())
    assert shown == {name: kept.get(name) for name in view.model_fields}
    assert view.model_fields.keys() - kept.keys() == own


def test_a_transcript_that_lies_elsewhere_is_known_by_its_reference() -> None:
    large = TranscriptResult(segments_ref="blob", duration_ms=1, backend="api", model="m")
    assert projections._Large.model_validate(large.model_dump(mode="json")).segments_ref == "blob"


@pytest.mark.parametrize(
    ("sql", "view", "made"),
    [
        (projections._STAGES, StageView, set()),
        (projections._CALLS, Receipt, {"reused"}),
        (
            projections._SHARE,
            ShareView,
            {
                "state",
                "stages",
                "transcript",
                "summary",
                "embedding",
                "receipts",
                "cost_micro_usd",
                "quality",
                "text_language",
            },
        ),
        (alerts._ALERTS, AlertView, set()),
    ],
)
def test_every_field_of_a_view_is_read(sql: str, view: type[BaseModel], made: Collection[str]) -> None:
    columns = set(re.findall(r"\w+", sql.partition("FROM")[0]))
    assert view.model_fields.keys() - columns == set(made)
