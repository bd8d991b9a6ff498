"""The router as other parts see it: conversations in, RouteScores out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from serve_app.core import ConfigError, Message, RouteScore
from serve_app.router import artifact as artifacts
from serve_app.router.classifier import FloatArray
from serve_app.router.conversation import reading, settle
from serve_app.router.text import clip

FALLBACK_LABEL = "general"
"""The label of what no specialist is sure of."""
_CACHED_TEXTS = 4096


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
    """Implements core.Router. `score` is for one event loop; `score_texts` is for scripts and may block for long."""

    def __init__(self, artifact: artifacts.Artifact, encoder: TextEncoder, floor: float | None = None) -> None:
        """Raises ConfigError when the artifact was trained on another encoder or `floor` is not in [0, 1]."""
        if artifact.encoder_digest != encoder.digest:
            raise ConfigError(
                f"The router was trained on encoder {artifact.encoder_digest[:12]}, not on {encoder.digest[:12]}: "
                "set router.encoder to the one it was trained on, or train it again with `headrace router train`."
            )
        self.floor = artifact.floor if floor is None else floor
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"router.floor is {self.floor}: it must lie between 0 and 1.")
        self.labels = artifact.classifier.labels
        self.card = artifact.card
        self._classifier = artifact.classifier
        self._encoder = encoder
        self._fallback_index = self.labels.index(FALLBACK_LABEL) if FALLBACK_LABEL in self.labels else None
        self._known: OrderedDict[str, FloatArray] = OrderedDict()  # touched by the event loop's thread only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")

    @classmethod
    def load(cls, path: Path, encoder: TextEncoder, floor: float | None = None) -> DomainRouter:
        """From a folder of `headrace router train`. Raises DataError (damaged) or ConfigError (other encoder)."""
        return cls(artifacts.read(path), encoder, floor)

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The domain of a conversation (rule: router/conversation.py); texts seen before cost no encoding.

        The work is done in the router's one thread, so the event loop stays free.
        """
        texts = reading(conversation)
        if not texts:
            return self._decide(np.full(len(self.labels), 1 / len(self.labels), dtype=np.float32))
        found = {text: probabilities for text in texts if (probabilities := self._recall(text)) is not None}
        fresh = [text for text in dict.fromkeys(texts) if text not in found]
        if fresh:
            computed = await asyncio.get_running_loop().run_in_executor(self._thread, self._classify, fresh)
            found.update(zip(fresh, computed, strict=True))
            for text in fresh:
                self._remember(text, found[text])
        return self._decide(settle([found[text] for text in texts], self._fallback_index))

    def score_texts(self, texts: Sequence[str]) -> list[RouteScore]:
        """Each text as a conversation of one turn; nothing is cached."""
        return [self._decide(probabilities) for probabilities in self._classify([clip(text) for text in texts])]

    def close(self) -> None:
        """End the worker thread; the router cannot score afterwards."""
        self._thread.shutdown()

    def _classify(self, texts: Sequence[str]) -> list[FloatArray]:
        vectors = self._encoder.encode(texts)
        # one row at a time: a matrix product may round differently, and a text's route must not depend on its company
        return [self._classifier.probabilities(vector) for vector in vectors]

    def _decide(self, probabilities: FloatArray) -> RouteScore:
        best = int(probabilities.argmax())
        probability = float(probabilities[best])
        label = self.labels[best] if probability >= self.floor else FALLBACK_LABEL
        return RouteScore(label, probability, dict(zip(self.labels, map(float, probabilities), strict=True)))

    def _recall(self, text: str) -> FloatArray | None:
        probabilities = self._known.get(text)
        if probabilities is not None:
            self._known.move_to_end(text)
        return probabilities

    def _remember(self, text: str, probabilities: FloatArray) -> None:
        self._known[text] = probabilities
        self._known.move_to_end(text)
        if len(self._known) > _CACHED_TEXTS:
            self._known.popitem(last=False)


def shipped() -> Path:
    """The folder of the router that comes with the package: legal, medical, code, general."""
    return Path(__file__).resolve().parent / "shipped"
