"""A model of fastembed inside a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from pydantic import BaseModel, JsonValue

from millrace.errors import ConfigurationError
from millrace.models.asked_texts import answering, timed
from millrace.models.child.program import Work
from millrace.models.fastembed import open_tokenizer
from millrace.models.onnx_folder import Pooling, read_folder

_AT_ONCE = 16
"""Texts that the model sees together: their memory is that of the longest, so many times."""
_POOLING: Mapping[Pooling, PoolingType] = {
    "cls": PoolingType.CLS,
    "mean": PoolingType.MEAN,
    "last_token": PoolingType.LAST_TOKEN,
}


class _Wanted(BaseModel):
    entry: str | None
    name: str
    folder: str
    file: str
    dimensions: int
    pooling: Pooling | None
    threads: int | None


def _model(wanted: _Wanted) -> TextEmbedding:
    name = wanted.entry or wanted.name
    if wanted.entry is None:
        TextEmbedding.add_custom_model(
            name,
            pooling=_POOLING[wanted.pooling or "mean"],
            normalization=True,
            sources=ModelSource(hf=name),  # it needs one, and never looks there: the files are given
            dim=wanted.dimensions,
            model_file=wanted.file,
        )
    return TextEmbedding(
        name, threads=wanted.threads, specific_model_path=wanted.folder, local_files_only=True, cuda=False
    )


def load(settings: Mapping[str, JsonValue]) -> Work:
    """Answers `Texts`; loading takes a second or two.

    :raises ConfigurationError: the files are none of a model that can be used.
    """
    wanted = _Wanted.model_validate(settings)
    where = read_folder(Path(wanted.folder), wanted.file)
    try:
        model = _model(wanted)
        tokenizer = open_tokenizer(where.folder)
        (probe,) = model.embed(["word"])
    except Exception as exc:  # of several libraries; their texts may be pages long
        raise ConfigurationError(
            f"the model {wanted.name} cannot be loaded from {wanted.folder} ({type(exc).__name__})"
        ) from exc
    if probe.shape != (wanted.dimensions,):
        raise ConfigurationError(
            f"the model {wanted.name} makes vectors of shape {probe.shape} and not of {wanted.dimensions} numbers"
        )

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in model.embed(texts, batch_size=_AT_ONCE)]

    return answering(lambda texts: timed(texts, count, embed))
