"""fastembed with a real, very small ONNX model in a child process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from millrace.errors import ConfigurationError, Poison, Retryable
from millrace.models import wordllama
from millrace.models.build import open_embedding, open_embeddings
from millrace.models.child.pool import Care
from millrace.models.fastembed import find_model
from millrace.models.port import EmbeddingModel
from millrace.models.settings import EmbeddingSettings
from tests.support.onnx_model import DIMENSIONS, LONGEST, write_model


class Settings(EmbeddingSettings):
    """Of nothing else."""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own, and nobody to download from."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "words")


def settings(folder: Path | str, **more: object) -> Settings:
    fields = {"embed_backend": "fastembed", "embed_fastembed_model": str(folder), **more}
    return Settings.model_validate(fields)


@pytest.fixture(params=[Care(), None], ids=["agent", "gateway"])
async def embedding(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[EmbeddingModel]:
    async with open_embedding(settings(folder), request.param) as model:
        yield model


async def test_near_in_meaning_is_near_in_direction(embedding: EmbeddingModel) -> None:
    texts = ["dog ran park", "puppy running outside", "quarterly tax returns"]
    embedded = await embedding.embed(texts)
    dog, puppy, tax = np.array(embedded.vectors)
    assert (len(dog), embedding.dimensions) == (DIMENSIONS, DIMENSIONS)
    assert dog @ puppy > 0.99
    assert dog @ tax < 0.2
    assert embedded.use.tokens_in == sum(map(embedding.count_tokens, texts)) == 9
    assert embedded.use.seconds > 0
    assert (await embedding.embed([])).vectors == []
    with pytest.raises((ValueError, Retryable)):
        await embedding.embed(["words", " "])


async def test_a_text_has_the_same_vector_in_every_batch(embedding: EmbeddingModel) -> None:
    texts = [" ".join(["dog"] * (1 + number % 10)) + " tax" for number in range(embedding.batch_size)]
    together = np.array((await embedding.embed(texts)).vectors)
    alone = np.array([(await embedding.embed([text])).vectors[0] for text in texts[:12]])
    assert np.allclose(together[:12], alone, atol=1e-6)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


async def test_a_text_of_the_longest_length_is_read_to_its_end(embedding: EmbeddingModel) -> None:
    assert embedding.text_tokens == LONGEST - 2, "marks stand around it"
    longest = " ".join(["dog"] * (embedding.text_tokens - 1))
    assert embedding.count_tokens(f"{longest} tax") == embedding.text_tokens
    one, other = np.array((await embedding.embed([f"{longest} tax", f"{longest} dog"])).vectors)
    assert one @ other < 0.999


async def test_a_model_is_named_by_what_is_in_its_folder(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "words")
    name = find_model(str(folder), download=False).name
    assert name.startswith("fastembed/words@")
    assert find_model(str(copy), download=False).name == name
    (copy / "onnx" / "model.onnx").write_bytes((copy / "onnx" / "model.onnx").read_bytes() + b"\0")
    assert find_model(str(copy), download=False).name != name


async def test_other_models_are_opened_by_their_names(folder: Path) -> None:
    async with open_embeddings(settings(folder), Care(warm=False)) as models:
        own, bundled = models.of(None), models.of(wordllama.NAME)
        assert models.of(own.name) is own
        assert len((await bundled.embed(["a word"])).vectors[0]) == wordllama.DIMENSIONS
        with pytest.raises(Poison, match="no API of embeddings is set"):
            models.of("text-embedding-3-small")
        with pytest.raises(Poison, match="name its folder in the settings"):
            models.of("fastembed/words@00000000")
    local = Settings.model_validate({"embed_backend": "local", "embed_fastembed_model": str(folder)})
    async with open_embeddings(local, None) as models:
        assert models.of(None).name == wordllama.NAME
        assert len((await models.of(own.name).embed(["dog"])).vectors[0]) == DIMENSIONS, "as the gateway may have to"


@pytest.mark.parametrize(
    ("wanted", "download", "sentence"),
    [
        ("BAAI/bge-small-en-v1.5", False, "is not on this machine: set MILLRACE_EMBED_DOWNLOAD=true to download it"),
        ("BAAI/bge-small-en-v1.5", True, "could not be downloaded"),
        ("nobody/nothing", False, "fastembed has no model nobody/nothing"),
        ("minishlab/potion-base-8M", False, "is no ONNX model"),
        ("/nowhere/at/all", False, "/nowhere/at/all has no model"),
    ],
)
async def test_a_model_that_is_not_there_is_one_clear_sentence(wanted: str, download: bool, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as told:
        async with open_embedding(settings(wanted, embed_download=download), Care()):
            pytest.fail("it was opened")
    assert "\n" not in str(told.value)


async def test_a_file_that_is_no_model_is_one_clear_sentence(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "onnx" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match=r"fastembed/broken@.* cannot be loaded from"):
        async with open_embedding(settings(broken), Care()):
            pytest.fail("it was opened")


async def test_vectors_of_another_length_than_the_folder_says_are_refused(tmp_path: Path) -> None:
    pooling = {"word_embedding_dimension": 5, "pooling_mode_cls_token": True}
    folder = write_model(tmp_path / "wrong", pooling=pooling)
    with pytest.raises(ConfigurationError, match=r"makes vectors of shape \(8,\) and not of 5 numbers"):
        async with open_embedding(settings(folder), Care()):
            pytest.fail("it was opened")
