"""OpenAI-compatible APIs: their client, their errors by what was paid, their tokens, and embeddings.

Any server that speaks the protocol will do: OpenAI, Ollama, vLLM, llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import bpe_openai
import openai
from pydantic import SecretStr

from millrace.errors import UnknownOutcome
from millrace.models.keys import key_to_send
from millrace.models.outcomes import (
    CONNECT_S,
    NEVER_SENT,
    byte_count,
    counted,
    of_status,
    silent,
    unreachable,
    unreadable,
)
from millrace.models.port import Backend, Embedded, Tariff, Use

_BASE_URL = "https://api.openai.com/v1"
_MOST_DIMENSIONS = 16_000  # of pgvector's type `vector`
_LARGEST = 3.4e38  # of a 32-bit float, as which vectors are kept


def open_client(*, base_url: str | None, key: SecretStr | None, timeout_s: float) -> openai.AsyncOpenAI:
    """A client that never repeats a request by itself: every one is granted on its own. Close it when done.

    :param base_url: None for OpenAI itself.
    :param key: None for servers that ask for none.
    :raises ConfigurationError: the key is none that could be sent.
    """
    client = openai.AsyncOpenAI(
        base_url=base_url or _BASE_URL,
        api_key=key_to_send(key, variable="OPENAI_API_KEY"),
        max_retries=0,
        timeout=openai.Timeout(timeout_s, connect=CONNECT_S),
    )
    # The SDK takes these from the environment: another account would pay, or another key be sent.
    client.organization = client.project = None
    client._custom_headers = {}  # noqa: SLF001 - the constructor merges what it is given with the environment's
    return client


@contextmanager
def errors_by_outcome(model: str) -> Iterator[None]:
    """Turn errors of a request, and of reading its answer, into ours, which say what was paid and what happens next.

    :raises Retryable: nothing was paid, later it may work.
    :raises Poison: nothing was paid, and it never will work.
    :raises UnknownOutcome: it may have been paid.
    """
    try:
        yield
    except openai.APIStatusError as exc:
        # Not `from exc`: its text is what the server said, which may repeat the key or the document, and chained
        # errors are printed in logs and dead letters.
        wait = exc.response.headers.get("retry-after")
        raise of_status(exc.status_code, wait, model=model, key="OPENAI_API_KEY") from None
    except openai.APIConnectionError as exc:
        why = type(exc.__cause__).__name__  # and no more: some causes repeat a header, the key's among them
        if why in NEVER_SENT:
            raise unreachable(model, why) from None
        raise silent(model, why) from None
    except (openai.APIError, ValueError, TypeError, AttributeError, LookupError):
        # The client does not check what a server sends: parts of an answer may be missing, or no JSON at all.
        raise unreadable(model) from None  # as above


def token_counter(model: str) -> Callable[[str], int]:
    """Counts a text's tokens: exactly where the tokenizer is known, otherwise by bytes, which are never fewer."""
    try:
        # Not encoding_for_model(): it refuses models whose tokenizer it has, the embedding models among them.
        encoding = bpe_openai.get_encoding(bpe_openai.encoding_name_for_model(model))
    except KeyError:
        return byte_count
    return lambda text: len(encoding.encode_ordinary(text))


class OpenAIEmbeddings:
    """Embeddings from an API; implements `EmbeddingModel`."""

    backend: Backend = "api"
    # https://platform.openai.com/docs/api-reference/embeddings/create; other servers' models take about as much, and
    # their tokens are counted by bytes, of which one has about four.
    text_tokens = 8_191
    batch_tokens = 300_000

    def __init__(self, client: openai.AsyncOpenAI, *, model: str, tariff: Tariff, batch_size: int = 100) -> None:
        self._client = client
        self.name = model
        self.tariff = tariff
        self.batch_size = batch_size
        self.dimensions = 0
        self.count_tokens = token_counter(model)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Ask the API once."""
        with errors_by_outcome(self.name):
            answer = await self._client.embeddings.create(model=self.name, input=list(texts), encoding_format="float")
            vectors = [list(map(float, item.embedding)) for item in sorted(answer.data, key=lambda item: item.index)]
            sizes = {len(vector) for vector in vectors}
        if len(vectors) != len(texts) or len(sizes) != 1:
            raise UnknownOutcome(f"the API of {self.name} did not give one vector for each text")
        dimensions = sizes.pop()
        if not 0 < dimensions <= _MOST_DIMENSIONS or not all(abs(x) <= _LARGEST for v in vectors for x in v):
            raise UnknownOutcome(f"the API of {self.name} gave vectors that cannot be kept")
        self.dimensions = dimensions
        tokens = counted(getattr(answer.usage, "prompt_tokens", None), sum(map(self.count_tokens, texts)))
        return Embedded(vectors, Use(tokens_in=tokens))
