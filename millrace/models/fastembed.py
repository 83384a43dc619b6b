"""ONNX embedding models by fastembed: of its catalogue, or of a folder; in child processes, without a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from millrace.errors import ConfigurationError
from millrace.models.asked_texts import asked
from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.onnx_folder import OnnxFolder, Pooling, read_folder, read_pooling
from millrace.models.port import Backend, Embedded, Tariff
from millrace.models.tariffs import PerSecond

PREFIX: Final = "fastembed/"
"""Of the names of these models: another backend's vectors of the same weights are not quite the same."""
_WITH_IT = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")


@dataclass(frozen=True)
class FoundModel:
    """A model that is on this machine. `entry` is its name in fastembed's catalogue; without one, how it pools."""

    name: str
    where: OnnxFolder
    dimensions: int
    entry: str | None = None
    pooling: Pooling | None = None

    def recipe(self, threads: int | None = None) -> Recipe:
        """What a child becomes; it is given files and needs no network."""
        return Recipe(
            self.name,
            "millrace.models.fastembed_child:load",
            {
                "entry": self.entry,
                "name": self.name,
                "folder": str(self.where.folder),
                "file": self.where.file,
                "dimensions": self.dimensions,
                "pooling": self.pooling,
                "threads": threads,
            },
        )


class FastembedChildren:
    """Implements `EmbeddingModel`."""

    backend: Backend = "local"
    # Memory and time of a call grow with its longest text: a batch of 64 takes some seconds on two cores.
    batch_size = 64

    def __init__(self, children: ChildPool, found: FoundModel, price_per_second: Decimal = Decimal(0)) -> None:
        """Read the tokenizer; blocks for a tenth of a second."""
        self._children = children
        self.name = found.name
        self.dimensions = found.dimensions
        self.tariff: Tariff = PerSecond(price_per_second, tokens_per_second=500)
        self._tokenizer = open_tokenizer(found.where.folder)
        self.text_tokens = found.where.longest - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self.batch_tokens = self.batch_size * self.text_tokens

    def count_tokens(self, text: str) -> int:
        """Exact, without the marks around every text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Ask a child."""
        return await asked(self._children, texts, self.dimensions)


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, which cuts nothing off.

    :raises ConfigurationError: it cannot be read.
    """
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as exc:  # the library raises nothing narrower
        raise ConfigurationError(f"{folder}/tokenizer.json cannot be read") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def find_model(wanted: str, *, download: bool) -> FoundModel:
    """A model by its folder, or by its name in fastembed's catalogue. Blocks: it imports a large library.

    :param wanted: where it starts with `/`, `.` or `~` a folder.
    :param download: whether it may be fetched from the Hugging Face hub if it is not here.
    :raises ConfigurationError: it is not here, or fastembed is not installed.
    """
    if importlib.util.find_spec("fastembed") is None:
        raise ConfigurationError("fastembed is not installed: install millrace[fastembed]")
    if wanted.startswith(("/", ".", "~")):
        where = read_folder(Path(wanted).expanduser().absolute())
        pooling, dimensions = read_pooling(where.folder)
        return FoundModel(f"{PREFIX}{where.folder.name}@{where.digest()}", where, dimensions, pooling=pooling)
    return _of_catalogue(wanted.removeprefix(PREFIX), download=download)


def _of_catalogue(wanted: str, *, download: bool) -> FoundModel:
    from fastembed import TextEmbedding  # noqa: PLC0415 - memory and seconds that only its users pay

    entry = next((one for one in TextEmbedding.list_supported_models() if one["model"] == wanted), None)
    if entry is None:
        raise ConfigurationError(
            f"fastembed has no model {wanted}: name one of its catalogue, or a folder (with a / in front)"
        )
    file, repository = entry["model_file"], entry["sources"]["hf"]
    if not file.endswith(".onnx") or repository is None:
        raise ConfigurationError(f"fastembed's model {wanted} is no ONNX model of the Hugging Face hub: name another")
    files = [file, *entry["additional_files"], *_WITH_IT]
    where = read_folder(_fetched(wanted, repository, files, download=download), file)
    return FoundModel(f"{PREFIX}{wanted}", where, entry["dim"], entry=wanted)


def _fetched(wanted: str, repository: str, files: Sequence[str], *, download: bool) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - as above
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415 - as above

    try:
        return Path(snapshot_download(repository, allow_patterns=list(files), local_files_only=not download))
    except LocalEntryNotFoundError as exc:
        why = "it could not be downloaded" if download else "set MILLRACE_EMBED_DOWNLOAD=true to download it"
        raise ConfigurationError(
            f"The model {wanted} is not on this machine: {why}, or name a folder that has it"
        ) from exc
    except Exception as exc:
        raise ConfigurationError(f"The model {wanted} could not be downloaded ({type(exc).__name__})") from exc
