"""A folder with an ONNX embedding model, laid out as sentence-transformers and the Hugging Face hub do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.errors import ConfigurationError

Pooling = Literal["cls", "mean", "last_token"]
"""How one vector is made of those of all tokens."""

_MODELS: Final = (
    "onnx/model.onnx",
    "model.onnx",
    "model_optimized.onnx",
    "onnx/model_quantized.onnx",
    "model_quantized.onnx",
)
_ReadT = TypeVar("_ReadT", bound=BaseModel)
_POOLING: Final = "1_Pooling/config.json"
_MOST_TOKENS: Final = 1_000_000  # what is beyond stands for "unknown" in files of tokenizers


class _Tokens(BaseModel):
    """What files say about the longest text; most say more than that."""

    model_config = ConfigDict(extra="ignore")

    model_max_length: float | None = None
    max_length: float | None = None
    max_seq_length: float | None = None

    @property
    def known(self) -> list[int]:
        """Limits that are meant."""
        found = (self.model_max_length, self.max_length, self.max_seq_length)
        return [int(one) for one in found if one is not None and 0 < one <= _MOST_TOKENS]


class _Pooled(BaseModel):
    model_config = ConfigDict(extra="ignore")

    word_embedding_dimension: int
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_lasttoken: bool = False

    @property
    def pooling(self) -> Pooling | None:
        """The one way, None where it is none of these or several."""
        ways: dict[Pooling, bool] = {
            "cls": self.pooling_mode_cls_token,
            "mean": self.pooling_mode_mean_tokens,
            "last_token": self.pooling_mode_lasttoken,
        }
        chosen = [way for way, wanted in ways.items() if wanted]
        return chosen[0] if len(chosen) == 1 else None


@dataclass(frozen=True)
class OnnxFolder:
    """`file` is the model's, within the folder; `longest` is how many tokens it takes, marks included."""

    folder: Path
    file: str
    longest: int

    def digest(self) -> str:
        """Tells the model from another one that lies in a folder of the same name."""
        with (self.folder / self.file).open("rb") as model:
            return hashlib.file_digest(model, "sha256").hexdigest()[:8]


def read_folder(folder: Path, file: str | None = None) -> OnnxFolder:
    """What is in a folder.

    :param file: of the model, if that is known.
    :raises ConfigurationError: something is missing.
    """
    models = _MODELS if file is None else (file,)
    found = next((name for name in models if (folder / name).is_file()), None)
    if found is None:
        raise ConfigurationError(f"{folder} has no model: {' or '.join(models)} is looked for")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ConfigurationError(f"{folder} has no {name}, which goes with the model")
    limits = [
        limit
        for name in ("tokenizer_config.json", "sentence_bert_config.json")
        if (folder / name).is_file()
        for limit in _read(folder / name, _Tokens).known
    ]
    if not limits:
        raise ConfigurationError(f"{folder}/tokenizer_config.json does not say how many tokens the model takes")
    return OnnxFolder(folder, found, min(limits))


def read_pooling(folder: Path) -> tuple[Pooling, int]:
    """How a folder's model pools, and the length of its vectors.

    :raises ConfigurationError: it does not say so.
    """
    path = folder / _POOLING
    if not path.is_file():
        raise ConfigurationError(f"{folder} has no {_POOLING}, which says how its vectors are pooled")
    pooled = _read(path, _Pooled)
    if pooled.pooling is None or pooled.word_embedding_dimension < 1:
        raise ConfigurationError(f"{path} names no pooling that is known here: cls, mean or lasttoken")
    return pooled.pooling, pooled.word_embedding_dimension


def _read(path: Path, kind: type[_ReadT]) -> _ReadT:
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError) as exc:
        raise ConfigurationError(f"{path} cannot be read ({type(exc).__name__})") from exc
