from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from millrace.models.onnx_folder import read_folder, read_pooling


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


WHOLE: dict[str, object] = {
    "onnx/model.onnx": "model",
    "tokenizer.json": "{}",
    "tokenizer_config.json": {"model_max_length": 512},
    "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
}


def test_a_folder_says_where_its_model_is_and_how_much_it_takes(tmp_path: Path) -> None:
    found = read_folder(write(tmp_path, WHOLE))
    assert (found.file, found.longest) == ("onnx/model.onnx", 512)
    assert read_pooling(tmp_path) == ("mean", 384)


def test_the_least_limit_counts_and_one_that_means_unknown_does_not(tmp_path: Path) -> None:
    write(tmp_path, {**WHOLE, "sentence_bert_config.json": {"max_seq_length": 256}})
    assert read_folder(tmp_path).longest == 256
    write(tmp_path, {"tokenizer_config.json": {"model_max_length": 1e30}})
    assert read_folder(tmp_path).longest == 256


def test_another_model_in_a_folder_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    first = read_folder(write(tmp_path, WHOLE)).digest()
    assert read_folder(write(tmp_path, {"onnx/model.onnx": "other"})).digest() != first


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"onnx/model.onnx": None}, "has no model: onnx/model.onnx or model.onnx"),
        ({"tokenizer.json": None}, "has no tokenizer.json"),
        ({"tokenizer_config.json": "{"}, "tokenizer_config.json cannot be read"),
        ({"tokenizer_config.json": {}}, "does not say how many tokens"),
        ({"tokenizer_config.json": {"model_max_length": 0}}, "does not say how many tokens"),
        ({"tokenizer_config.json": {"model_max_length": "many"}}, "cannot be read"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, files: dict[str, object], sentence: str) -> None:
    write(tmp_path, {name: content for name, content in {**WHOLE, **files}.items() if content is not None})
    with pytest.raises(ConfigurationError, match=sentence):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("pooling", "sentence"),
    [
        (None, "has no 1_Pooling/config.json"),
        ({"word_embedding_dimension": 3}, "names no pooling that is known here"),
        (
            {"word_embedding_dimension": 3, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "names no pooling",
        ),
        ({"word_embedding_dimension": 0, "pooling_mode_cls_token": True}, "names no pooling"),
        ({}, "cannot be read"),
    ],
)
def test_pooling_is_never_guessed(tmp_path: Path, pooling: object, sentence: str) -> None:
    write(tmp_path, {} if pooling is None else {"1_Pooling/config.json": pooling})
    with pytest.raises(ConfigurationError, match=sentence):
        read_pooling(tmp_path)
