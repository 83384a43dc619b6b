"""The stage's handler: from a transcript or a text to vectors that search finds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from millrace.contracts.events import EmbeddingReady, Event, Segment, ShareCreated, TranscriptReady
from millrace.errors import Skipped
from millrace.ids import content_hash
from millrace.models.choice import Models
from millrace.models.port import EmbeddingModel, Paid
from millrace.money import ZERO, MicroUSD
from millrace.store.blobs import BlobStore
from millrace.store.transcripts import read_segments
from millrace.stream.stage import MODEL_OPTION, Plan, Run, StageHandler
from services.embed_agent.batches import Batch, packed, unpacked
from services.embed_agent.domain import (
    EMBEDDING_TYPE,
    Chunk,
    Chunker,
    EmbedResult,
    Source,
    SplitSentences,
    skip_reason,
)
from services.embed_agent.paragraphs import paragraph_chunks
from services.embed_agent.ports import Vectors, VectorStore
from services.embed_agent.transcripts import transcript_chunks

_CHUNKING = 1
"""Version of the chunkers: other chunks are other work."""


Text = TranscriptReady | ShareCreated
"""What has text."""


class EmbedHandler(StageHandler[Text, EmbedResult]):
    """Embeds transcripts and text shares.

    :param split: splits a text into sentences.
    """

    result_type = EmbedResult
    event_type = EmbeddingReady

    def __init__(
        self, models: Models[EmbeddingModel], *, store: VectorStore, blobs: BlobStore, split: SplitSentences
    ) -> None:
        self._models = models
        self._store = store
        self._blobs = blobs
        self._split = split

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[Text] | None:
        """Transcripts and texts; shared media comes back as its transcript."""
        if isinstance(event, TranscriptReady):
            # The same words at other times are other chunks; nothing for another reason is another nothing.
            content = event.model_dump_json(include={"text", "segments", "segments_ref", "skipped_reason"})
        elif isinstance(event, ShareCreated) and event.source_kind == "text":
            content = event.text or ""
        else:
            return None
        parameters = {"chunker": _chunker(event), "chunking": _CHUNKING}
        model = self._models.of(options.get(MODEL_OPTION))
        return Plan(event, content_hash(content), model.name, parameters, model.backend == "local")

    def most(self, plan: Plan[Text]) -> MicroUSD:
        """The price of all its words; chunks that overlap can come to somewhat more."""
        model, text = self._models.of(plan.model), plan.event.text or ""
        if skip_reason(text, _source(plan.event)):
            return ZERO
        return model.tariff.most(model.count_tokens(text))

    async def work(self, plan: Plan[Text], run: Run) -> EmbedResult:
        """Cut, embed batch by batch what is new, and store before the result says that it can be found."""
        event, model = plan.event, self._models.of(plan.model)
        chunks = await self._chunks(event, model)
        texts = {chunk.content_hash: chunk for chunk in chunks}
        # Work that somebody wants done again buys its vectors again.
        known = {} if plan.generation else await self._store.known(model.name, list(texts))
        made: dict[str, Sequence[float]] = {}
        call_no = tokens = 0
        # An answer that an earlier attempt has paid for may be about others: what is known has changed since then.
        while missing := [chunk for name, chunk in texts.items() if name not in known and name not in made]:
            batch = await self._embed(plan, run, call_no, missing[: model.batch_size])
            made |= unpacked(batch)
            call_no, tokens = call_no + 1, tokens + batch.tokens
            await run.progress(1 - max(0, len(missing) - model.batch_size) / len(texts))
        await self._store.replace(plan.work_key("embed"), Vectors(EMBEDDING_TYPE, model.name, chunks, made))
        return EmbedResult(
            source=_source(event),
            types=[EMBEDDING_TYPE],
            backend=model.backend,
            model=model.name,
            dimensions=next(iter([*known.values(), *map(len, made.values())])),
            chunker=_chunker(event),
            chunk_count=len(chunks),
            tokens=tokens,
        )

    def skipped(self, plan: Plan[Text], reason: str) -> EmbedResult:
        """No vectors, and the reason."""
        return EmbedResult(
            skipped_reason=reason,
            source=_source(plan.event),
            backend=self._models.of(plan.model).backend,
            model=plan.model,
            chunker=_chunker(plan.event),
        )

    async def _chunks(self, event: Text, model: EmbeddingModel) -> list[Chunk]:
        text = event.text or ""
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            raise Skipped(event.skipped_reason)
        if reason := skip_reason(text, _source(event)):
            raise Skipped(reason)
        # In a thread: counting the tokens of a long text takes seconds, and leases are renewed meanwhile.
        count = model.count_tokens
        if not isinstance(event, TranscriptReady):
            return await asyncio.to_thread(paragraph_chunks, text, count, self._split)
        return await asyncio.to_thread(transcript_chunks, await self._segments(event), count)

    async def _segments(self, transcript: TranscriptReady) -> list[Segment]:
        if transcript.segments_ref is not None:
            return await read_segments(self._blobs, transcript.segments_ref)
        # A backend that gives no segments says at least how long all of it is.
        whole = Segment(start_ms=0, end_ms=transcript.duration_ms, text=transcript.text)
        return transcript.segments or [whole]

    async def _embed(self, plan: Plan[Text], run: Run, call_no: int, chunks: Sequence[Chunk]) -> Batch:
        model = self._models.of(plan.model)

        async def do() -> Paid[Batch]:
            embedded = await model.embed([chunk.text for chunk in chunks])
            return Paid(packed(embedded, [chunk.content_hash for chunk in chunks]), model.tariff.cost(embedded.use))

        hold = model.tariff.most(sum(chunk.tokens for chunk in chunks))
        return await run.call(call_no, Batch, model=model.name, hold=hold, do=do, local=plan.local)


def _source(event: Text) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"


def _chunker(event: Text) -> Chunker:
    return "transcript" if isinstance(event, TranscriptReady) else "paragraph"
