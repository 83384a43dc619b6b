"""The stage's handler: from a transcript or a text to vectors that search finds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from millrace.contracts.events import EMBED_CHUNKER, EmbeddingReady, Event, Segment, ShareCreated, TranscriptReady
from millrace.errors import Skipped
from millrace.ids import content_hash
from millrace.models.choice import Models, asked_for
from millrace.models.port import EmbeddingModel
from millrace.money import ZERO, MicroUSD
from millrace.store.blobs import BlobStore
from millrace.store.transcripts import read_segments
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Plan, Run, StageHandler
from services.embed_agent.buying import Buyer
from services.embed_agent.cutting import AUTO, CHUNKER_OPTION, Material, chosen, cut, is_longer
from services.embed_agent.domain import (
    Chunk,
    Chunker,
    EmbedResult,
    Source,
    SplitSentences,
    passages_of,
    types_of,
)
from services.embed_agent.metrics import note_chunks
from services.embed_agent.overview import about, beginning, first_said, overview
from services.embed_agent.ports import VectorStore
from services.embed_agent.preprocess import Prepared, kind_of, prepared
from services.embed_agent.sizes import within

_CHUNKING = 3
"""Version of the chunkers and of the cleaning: other chunks are other work."""
LARGE_TOKENS = 5_000
"""A text of more tokens is a large one."""


Text = TranscriptReady | ShareCreated
"""What has text."""


class EmbedHandler(StageHandler[Text, EmbedResult]):
    """Embeds transcripts and text shares.

    :param split: splits a text into sentences.
    :param chunker: cuts texts unless a command or the share names another; transcripts keep their times, and are cut
        by them.
    :param large: the model of texts above `LARGE_TOKENS`, unless a command names another.
    """

    result_type = EmbedResult
    event_type = EmbeddingReady

    def __init__(
        self,
        models: Models[EmbeddingModel],
        *,
        store: VectorStore,
        buyer: Buyer,
        blobs: BlobStore,
        split: SplitSentences,
        chunker: str = AUTO,
        large: str | None = None,
    ) -> None:
        self._models = models
        self._store = store
        self._buyer = buyer
        self._blobs = blobs
        self._split = split
        self._chunker = chunker
        self._large = large

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[Text] | None:
        """Transcripts and texts; shared media comes back as its transcript."""
        if not isinstance(event, Text) or (isinstance(event, ShareCreated) and event.source_kind != "text"):
            return None
        ready = _prepared(event)
        model = self._model(ready.text, options)
        content = ready.text
        if isinstance(event, TranscriptReady):
            # The same words at other times are other chunks; nothing for another reason is another nothing.
            content = event.model_dump_json(include={"text", "segments", "segments_ref", "skipped_reason"})
        wanted = options.get(CHUNKER_OPTION, self._unasked(event))
        chunker = chosen(wanted, _source(event), ready.text, model.count_tokens)
        parameters = {"chunker": chunker, "chunking": _CHUNKING, "skipped": ready.reason or ""}
        if not ready.reason and (said := about(event)):
            parameters["about"] = content_hash("\n".join(said))
        return Plan(event, content_hash(content), model.name, parameters, model.backend == "local")

    def most(self, plan: Plan[Text]) -> MicroUSD:
        """The price of all its words and of its overview; chunks that overlap can come to somewhat more."""
        model, ready = self._models.of(plan.model), _prepared(plan.event)
        if ready.reason:
            return ZERO
        tokens, parts = model.count_tokens(ready.text), about(plan.event)
        if parts or _source(plan.event) == "transcript":
            # What is said in the first 30 s is a part of this beginning.
            tokens += model.count_tokens(overview(parts, beginning(ready.text)))
        return model.tariff.most(tokens)

    async def work(self, plan: Plan[Text], run: Run) -> EmbedResult:
        """Cut, buy the vectors of what is new, and store before the result says that it can be found."""
        event, model = plan.event, self._models.of(plan.model)
        chunker, chunks = await self._chunks(plan, model)
        bought = await self._buyer.buy(plan, run, model, {chunk.content_hash: chunk for chunk in chunks})
        await self._store.replace(plan.work_key("embed"), model.name, chunks)
        note_chunks(chunker, [chunk.tokens for chunk in chunks])  # once: a try may end before, and wait for others
        return EmbedResult(
            source=_source(event),
            types=types_of(chunks),
            backend=model.backend,
            model=model.name,
            dimensions=bought.dimensions,
            chunker=chunker,
            chunk_count=passages_of(chunks),
            tokens=bought.tokens,
        )

    def skipped(self, plan: Plan[Text], reason: str) -> EmbedResult:
        """No vectors, and the reason."""
        return EmbedResult(
            skipped_reason=reason,
            source=_source(plan.event),
            backend=self._models.of(plan.model).backend,
            model=plan.model,
            chunker=_planned(plan),
        )

    def _model(self, text: str, options: Mapping[str, str]) -> EmbeddingModel:
        """The one that is wanted, or for a long text that for long ones.

        :raises Poison: it cannot be used here.
        """
        wanted, backend = options.get(MODEL_OPTION), options.get(BACKEND_OPTION)
        count = self._models.of(None).count_tokens
        is_large = wanted is None and self._large is not None and is_longer(text, LARGE_TOKENS, count)
        return asked_for(self._models, wanted, backend, self._large if is_large else None)

    def _unasked(self, event: Text) -> str:
        """The chunker where no command names one: the share's own wish, or the agent's."""
        return event.options.get(EMBED_CHUNKER, self._chunker) if isinstance(event, ShareCreated) else AUTO

    async def _chunks(self, plan: Plan[Text], model: EmbeddingModel) -> tuple[Chunker, list[Chunk]]:
        event, chunker, ready = plan.event, _planned(plan), _prepared(plan.event)
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            raise Skipped(event.skipped_reason)
        if ready.reason:
            raise Skipped(ready.reason)
        segments: list[Segment] = []
        if isinstance(event, TranscriptReady) and chunker == "transcript":
            segments = await self._segments(event)
        material = Material(ready.text, model.count_tokens, self._split, model.text_tokens, segments)
        # In a thread: counting the tokens of a long text takes seconds, and leases are renewed meanwhile.
        cut_by, chunks = await asyncio.to_thread(cut, chunker, material)
        begins = first_said(segments) if segments else beginning(ready.text)
        parts = about(event)
        if not parts and (len(chunks) == 1 or _source(event) == "text"):
            return cut_by, chunks  # the first passage says it already
        return cut_by, [*chunks, *_overview(parts, begins, material)]

    async def _segments(self, transcript: TranscriptReady) -> list[Segment]:
        if transcript.segments_ref is not None:
            return await read_segments(self._blobs, transcript.segments_ref)
        # A backend that gives no segments says at least how long all of it is.
        whole = Segment(start_ms=0, end_ms=transcript.duration_ms, text=transcript.text)
        return transcript.segments or [whole]


def _overview(parts: Sequence[str], begins: str, material: Material) -> list[Chunk]:
    """The text that says what the share is about."""
    text = next(within(overview(parts, begins), material.count, material.longest), "").strip()
    return [Chunk(text, material.count(text), embedding_type="summary")] if text else []


def _source(event: Text) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"


def _prepared(event: Text) -> Prepared:
    content_type = event.content_type if isinstance(event, ShareCreated) else ""
    return prepared(event.text or "", kind_of(_source(event), content_type))


def _planned(plan: Plan[Text]) -> Chunker:
    return cast(Chunker, plan.parameters["chunker"])
