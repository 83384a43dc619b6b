"""OpenAI-compatible APIs: their client, their errors by what was paid, their tokens, and embeddings.

Any server that speaks the protocol will do: OpenAI, Ollama, vLLM, llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import bpe_openai
import openai
from pydantic import SecretStr

from millrace.errors import Outcome, Poison, Retryable, UnknownOutcome
from millrace.http import retry_after_s
from millrace.models.port import Backend, Embedded, Tariff, Use

_CONNECT_S = 10.0
# By name, because the client may sit on either of two generations of its HTTP library.
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
_CHECK_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})
_MOST_TOKENS = 1_000_000_000  # no request has as many
_MOST_DIMENSIONS = 16_000  # of pgvector's type `vector`
_LARGEST = 3.4e38  # of a 32-bit float, as which vectors are kept
# A proxy lost sight of a request that the model behind it may have answered, and billed.
_LOST = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})


def open_client(*, base_url: str | None, key: SecretStr | None, timeout_s: float) -> openai.AsyncOpenAI:
    """A client that never repeats a request by itself: every one is granted on its own. Close it when done.

    :param base_url: None for OpenAI itself.
    :param key: None for servers that ask for none.
    """
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=key.get_secret_value() if key else "none",
        max_retries=0,
        timeout=openai.Timeout(timeout_s, connect=_CONNECT_S),
    )


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
        raise _of_status(exc, model) from None
    except openai.APIConnectionError as exc:
        if type(exc.__cause__).__name__ in _NEVER_SENT:
            raise Retryable(f"the API of {model} cannot be reached: is its base URL right?") from exc
        raise UnknownOutcome(f"the API of {model} was asked and did not answer in time") from exc
    except (openai.APIError, ValueError, TypeError, AttributeError, LookupError):
        # The client does not check what a server sends: parts of an answer may be missing, or no JSON at all.
        raise UnknownOutcome(f"the API of {model} gave an answer that cannot be read") from None  # as above


def _of_status(error: openai.APIStatusError, model: str) -> Outcome:
    status = error.status_code
    if status in _LOST:
        return UnknownOutcome(f"the API of {model} lost the answer on its way (HTTP {status})")
    if status in _CHECK_KEY:
        return Retryable(f"the API of {model} refuses the key (HTTP {status}): check OPENAI_API_KEY")
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Retryable(f"the API of {model} has no answer now (HTTP {status})", retry_after_s=_wait_s(error))
    if status == HTTPStatus.NOT_FOUND:
        return Poison(f"the API knows no model {model} (HTTP {status}): check the model's name and the base URL")
    return Poison(f"the API of {model} refuses this request (HTTP {status})")


def _wait_s(error: openai.APIStatusError) -> float | None:
    return retry_after_s(error.response.headers.get("retry-after"))


def token_counter(model: str) -> Callable[[str], int]:
    """Counts a text's tokens: exactly where the tokenizer is known, otherwise by bytes, which are never fewer."""
    try:
        # Not encoding_for_model(): it refuses models whose tokenizer it has, the embedding models among them.
        encoding = bpe_openai.get_encoding(bpe_openai.encoding_name_for_model(model))
    except KeyError:
        return _bytes
    return lambda text: len(encoding.encode_ordinary(text))


def counted(tokens: object, otherwise: int) -> int:
    """Tokens as a server counted them; `otherwise` where what it says is no count that could be charged."""
    return tokens if isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS else otherwise


def _bytes(text: str) -> int:
    return len(text.encode())


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
