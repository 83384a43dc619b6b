"""A real ONNX embedding model of a few kilobytes: words of one meaning have one direction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

DIMENSIONS = 8
LONGEST = 16
_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_MEANINGS = (
    ("dog", "puppy", "hound"),
    ("ran", "running", "runs"),
    ("park", "outside"),
    ("tax", "taxes", "returns"),
    ("quarterly", "yearly"),
)


def write_model(folder: Path, *, pooling: Mapping[str, object] | None = None) -> Path:
    """Write the files of a model that looks its words up; the folder."""
    words = [*_MARKS, *(word for meaning in _MEANINGS for word in meaning)]
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "onnx").mkdir()
    _tokenizer(words).save(str(folder / "tokenizer.json"))
    onnx.save(_graph(words), str(folder / "onnx" / "model.onnx"))
    mean = {"word_embedding_dimension": DIMENSIONS, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", mean if pooling is None else pooling)
    _write(folder / "config.json", {"hidden_size": DIMENSIONS, "pad_token_id": 0})
    _write(folder / "tokenizer_config.json", {"model_max_length": LONGEST, "pad_token": "[PAD]"})
    _write(folder / "special_tokens_map.json", {"pad_token": "[PAD]", "unk_token": "[UNK]"})
    return folder


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content))


def _tokenizer(words: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _graph(words: list[str]) -> onnx.ModelProto:
    vectors = np.full((len(words), DIMENSIONS), 0.01, dtype=np.float32)
    for number, meaning in enumerate(_MEANINGS):
        for word in meaning:
            vectors[words.index(word), number] = 1.0
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["texts", "tokens"])
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", DIMENSIONS])
    node = helper.make_node("Gather", ["vectors", "input_ids"], ["last_hidden_state"])
    graph = helper.make_graph([node], "words", [ids, mask], [out], [numpy_helper.from_array(vectors, "vectors")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
