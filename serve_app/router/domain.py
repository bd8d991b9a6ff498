"""The router as other parts see it: conversations in, RouteScores out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from serve_app.core import ConfigError, Message, RouteScore
from serve_app.router import artifact as artifacts
from serve_app.router.cache import Known, RecentTexts
from serve_app.router.classifier import FloatArray
from serve_app.router.conversation import reading, settle
from serve_app.router.text import clip

FALLBACK_LABEL = "general"
"""The label of what no specialist is sure of."""
CACHED_TEXTS = 4096
"""About 7 MB: a vector of 384 numbers and a few probabilities each."""

_NO_VECTOR = np.zeros(0, dtype=np.float32)


class TextEncoder(Protocol):
    """What the router needs of the sentence encoder."""

    @property
    def digest(self) -> str:
        """Identifies the model file."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """(num_texts, dimension), rows of length 1; a text's vector does not depend on the others."""
        ...


class DomainRouter:
    """Implements core.Router. The coroutines are for one event loop; `score_texts` is for scripts and may block long.

    `recent.hits` and `recent.misses` count look-ups of the texts that conversations were read as.
    """

    def __init__(self, artifact: artifacts.Artifact, encoder: TextEncoder, floor: float | None = None) -> None:
        """Raises ConfigError when the artifact was trained on another encoder or `floor` is not in [0, 1]."""
        self._classifier = artifact.classifier
        self._reads_vector = artifact.classifier.model.reads_vector
        if self._reads_vector and artifact.encoder_digest != encoder.digest:
            raise ConfigError(
                f"The router was trained on encoder {artifact.encoder_digest[:12]}, not on {encoder.digest[:12]}: "
                "set router.encoder to the one it was trained on, or train it again with `headrace router train`."
            )
        self.floor = artifact.floor if floor is None else floor
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"router.floor is {self.floor}: it must lie between 0 and 1.")
        self.labels = artifact.classifier.labels
        self.card = artifact.card
        self.recent = RecentTexts(CACHED_TEXTS)
        self._encoder = encoder
        self._fallback_index = self.labels.index(FALLBACK_LABEL) if FALLBACK_LABEL in self.labels else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")

    @classmethod
    def load(cls, path: Path, encoder: TextEncoder, floor: float | None = None) -> DomainRouter:
        """From a folder of `headrace router train`. Raises DataError (damaged) or ConfigError (other encoder)."""
        return cls(artifacts.read(path), encoder, floor)

    @property
    def encoder_digest(self) -> str:
        """Of the encoder that makes the vectors."""
        return self._encoder.digest

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The domain of a conversation (rule: router/conversation.py); texts seen before cost no encoding.

        The work is done in the router's one thread, so the event loop stays free.
        """
        (score,) = await self.score_many([conversation])
        return score

    async def score_many(self, conversations: Sequence[tuple[Message, ...]]) -> list[RouteScore]:
        """The domain of each; all texts not seen before are encoded in one call, a text that occurs twice once.

        `busy_s`: each conversation has an equal share of the time that the call computed, waiting not included.
        """
        readings = [reading(conversation) for conversation in conversations]
        known, busy_s = await self._known({text for texts in readings for text in texts}, with_vector=False)
        return self._settled_all(readings, known, busy_s)

    async def score_with_vector(self, conversation: tuple[Message, ...]) -> tuple[RouteScore, FloatArray]:
        """The domain and the vector, (dimension,), of the last text read, for models beside the router."""
        (found,) = await self.score_many_with_vectors([conversation])
        return found

    async def score_many_with_vectors(
        self, conversations: Sequence[tuple[Message, ...]]
    ) -> list[tuple[RouteScore, FloatArray]]:
        """`score_many` with the vector of each conversation's last text; that of "" where there is no text."""
        readings = [reading(conversation) for conversation in conversations]
        wanted = {text for texts in readings for text in texts or ("",)}
        known, busy_s = await self._known(wanted, with_vector=True)
        scores = self._settled_all(readings, known, busy_s)
        vectors = [_vector(known[texts[-1] if texts else ""]) for texts in readings]
        return list(zip(scores, vectors, strict=True))

    def score_texts(self, texts: Sequence[str]) -> list[RouteScore]:
        """Each text as a conversation of one turn; nothing is cached."""
        found = self._classify([clip(text) for text in texts], self._reads_vector)
        return [self._decide(known.probabilities) for known in found]

    def close(self) -> None:
        """End the worker thread; the router cannot score afterwards."""
        self._thread.shutdown()

    async def _known(self, texts: Collection[str], with_vector: bool) -> tuple[dict[str, Known], float]:
        """All of the texts, from memory where they are there, and the seconds that the others took."""
        busy_s = 0.0
        found = {text: known for text in texts if (known := self.recent.get(text, with_vector)) is not None}
        fresh = [text for text in texts if text not in found]
        if fresh:
            computed, busy_s = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._classify_fresh, fresh, with_vector
            )
            found |= computed
        return found, busy_s

    def _classify_fresh(self, texts: Sequence[str], with_vector: bool) -> tuple[dict[str, Known], float]:
        """In the worker thread: looks once more, because a call queued before this one may have had the same text.

        Returns what is known and how many seconds that took, from when the thread took it up.
        """
        started_s = time.perf_counter()
        found = {text: known for text in texts if (known := self.recent.peek(text, with_vector)) is not None}
        fresh = [text for text in texts if text not in found]
        if fresh:
            for text, known in zip(fresh, self._classify(fresh, self._reads_vector or with_vector), strict=True):
                self.recent.put(text, known)
                found[text] = known
        return found, time.perf_counter() - started_s

    def _classify(self, texts: Sequence[str], encode: bool) -> list[Known]:
        if not encode:
            return [Known(self._classifier.probabilities(text, _NO_VECTOR), None) for text in texts]
        vectors = self._encoder.encode(texts)
        # one row at a time: a matrix product may round differently, and a text's route must not depend on its company
        return [
            Known(self._classifier.probabilities(text, vector), vector.copy())  # a view would keep the whole batch
            for text, vector in zip(texts, vectors, strict=True)
        ]

    def _settled_all(
        self, readings: Sequence[Sequence[str]], known: dict[str, Known], busy_s: float
    ) -> list[RouteScore]:
        started_s = time.perf_counter()
        scores = [self._settled(texts, known) for texts in readings]
        busy_s += time.perf_counter() - started_s
        return [replace(score, busy_s=busy_s / len(scores)) for score in scores]

    def _settled(self, texts: Sequence[str], known: dict[str, Known]) -> RouteScore:
        if not texts:
            return self._decide(np.full(len(self.labels), 1 / len(self.labels), dtype=np.float32))
        return self._decide(settle([known[text].probabilities for text in texts], self._fallback_index))

    def _decide(self, probabilities: FloatArray) -> RouteScore:
        best = int(probabilities.argmax())
        probability = float(probabilities[best])
        label = self.labels[best] if probability >= self.floor else FALLBACK_LABEL
        return RouteScore(label, probability, dict(zip(self.labels, map(float, probabilities), strict=True)))


def _vector(known: Known) -> FloatArray:
    if known.vector is None:
        raise AssertionError("asked for with its vector and came without")
    return known.vector


def shipped() -> Path:
    """The folder of the router that comes with the package: legal, medical, code, general."""
    return Path(__file__).resolve().parent / "shipped"
