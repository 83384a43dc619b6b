"""Near-duplicates and topics judged: `python -m benchmarks.insight [--json]`.

On the documents of `benchmarks/judged`: how many edited copies are found, by words and by the vectors of the bundled
model, and how near documents come that are no copies; and how well the clusters of a digest agree with the topics
of the documents. No database; last line JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from benchmarks.partitions import adjusted_rand, homogeneity
from benchmarks.relevance import FOLDER, Document, load
from millrace.language import detect_language
from millrace.models.wordllama import WordLlamaModel
from millrace.sentences import split_sentences
from millrace.signature import alike, bands, signature
from services.api_gateway.clusters import LEAST_LIKENESS, background, clusters, normalised
from services.api_gateway.duplicates import LEAST_COSINE, LEAST_JACCARD
from services.embed_agent.preprocess import cleaned

LIKENESSES: Final = (0.1, LEAST_LIKENESS, 0.2, 0.25)
_EVERY: Final = 10
Figures = dict[str, dict[str, float]]


def edits(texts: Sequence[str]) -> dict[str, list[str]]:
    """Copies of each text, by what was done to it."""
    return {
        "other blanks and capitals": [text.replace(" ", "  \n").upper() for text in texts],
        "quoted with a remark": [
            f"Look what I found, what do you think of it? {text} Via a friend." for text in texts
        ],
        "one word in ten": [" ".join(_one_in_ten(text.split())) for text in texts],
        "one sentence changed": [_changed(text, texts[(at + 13) % len(texts)]) for at, text in enumerate(texts)],
        "cut to two thirds": [_cut(text, 2 / 3) for text in texts],
        "cut to a half": [_cut(text, 1 / 2) for text in texts],
    }


def _one_in_ten(words: Sequence[str]) -> list[str]:
    return ["other" if number % _EVERY == _EVERY - 1 else word for number, word in enumerate(words)]


def _changed(text: str, by: str) -> str:
    """Its middle sentence is another text's first."""
    sentences = split_sentences(text)
    sentences[len(sentences) // 2] = split_sentences(by)[0].strip() + " "
    return "".join(sentences)


def _cut(text: str, share: float) -> str:
    words = text.split()
    return " ".join(words[: round(len(words) * share)])


def duplicates(documents: Sequence[Document], model: WordLlamaModel) -> Figures:
    """Shares of copies that are found, and of pairs of different documents that are taken for copies."""
    texts = [document.text for document in documents]
    numbers, vectors = _signatures(texts), _vectors(texts, model)
    pairs = list(itertools.combinations(range(len(texts)), 2))
    cosines = vectors @ vectors.T
    figures: Figures = {
        "different documents": {
            "highest_jaccard": max(alike(numbers[one], numbers[other]) for one, other in pairs),
            "highest_cosine": float(max(cosines[one, other] for one, other in pairs)),
            "candidates": sum(bool({*bands(numbers[a])} & {*bands(numbers[b])}) for a, b in pairs) / len(pairs),
        }
    }
    originals = {document.id: at for at, document in enumerate(documents)}
    rewritten = [json.loads(line) for line in (FOLDER / "paraphrases.jsonl").read_text().splitlines()]
    copies = {name: list(enumerate(made)) for name, made in edits(texts).items()}
    copies["said in other words"] = [(originals[one["of"]], one["text"]) for one in rewritten]
    for name, made in copies.items():
        theirs = _signatures([text for _, text in made])
        other = _vectors([text for _, text in made], model)
        words = [_by_words(numbers[at], sketch) for (at, _), sketch in zip(made, theirs, strict=True)]
        meaning = [float(vectors[at] @ vector) >= LEAST_COSINE for (at, _), vector in zip(made, other, strict=True)]
        figures[name] = {
            "copies": len(made),
            "by_words": _share(words),
            "by_vector": _share(meaning),
            "by_either": _share([one or two for one, two in zip(words, meaning, strict=True)]),
        }
    return figures


def topics(documents: Sequence[Document], model: WordLlamaModel) -> Figures:
    """How the clusters of a digest agree with the documents' topics, at several thresholds."""
    vectors = _vectors([f"{document.title}\n\n{document.text}" for document in documents], model)
    known = [document.topic for document in documents]
    usual = background(vectors)
    return {f"{least:.2f}": _agreement(clusters(vectors, usual=usual, least=least), known) for least in LIKENESSES}


def _agreement(found: Sequence[Sequence[int]], known: Sequence[str]) -> dict[str, float]:
    named = {at: number for number, members in enumerate(found) for at in members}
    put = [named[at] for at in range(len(known))]
    return {
        "topics": sum(len(members) > 1 for members in found),
        "alone": sum(len(members) == 1 for members in found),
        "adjusted_rand": adjusted_rand(put, known),
        "homogeneity": homogeneity(put, known),
        "completeness": homogeneity(known, put),
    }


def _signatures(texts: Sequence[str]) -> list[list[int]]:
    return [numbers for text in texts if (numbers := signature(cleaned(text, "article"))) is not None]


def _vectors(texts: Sequence[str], model: WordLlamaModel) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return normalised(np.array(model.embed_now(list(texts)).vectors, dtype=np.float32))


def _by_words(one: list[int], other: list[int]) -> bool:
    """As PostgreSQL finds it: among those that share a band."""
    return bool({*bands(one)} & {*bands(other)}) and alike(one, other) >= LEAST_JACCARD


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def run() -> Mapping[str, Figures]:
    """All figures."""
    documents, model = load().documents, WordLlamaModel()
    english = [document for document in documents if detect_language(document.text) == "en"]
    asked: dict[str, Callable[[], Figures]] = {
        "duplicates": lambda: duplicates(documents, model),
        "topics, all documents": lambda: topics(documents, model),
        "topics, English ones": lambda: topics(english, model),
    }
    return {
        name: {row: {key: round(value, 3) for key, value in one.items()} for row, one in figures().items()}
        for name, figures in asked.items()
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.insight", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    as_json = parser.parse_args().json
    figures = run()
    if not as_json:
        for name, rows in figures.items():
            sys.stdout.write(f"{name}\n")
            for row, values in rows.items():
                sys.stdout.write(f"  {row:26} {'  '.join(f'{key} {value:g}' for key, value in values.items())}\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
