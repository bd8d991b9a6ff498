"""The router with the pre-router beside it: one encoding of the query, two answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from serve_app.core import Message, RouteScore

Vector = np.ndarray[Any, Any]


class VectorRouter(Protocol):
    """A router that shows the sentence vector it looked at."""

    async def score_with_vector(self, conversation: tuple[Message, ...]) -> tuple[RouteScore, Vector]:
        """The domain, and the vector (dimension,) of the last text read."""
        ...


class Gain(Protocol):
    """Estimates what the large model would gain."""

    def probability(self, vector: Vector, text: str) -> float:
        """P(large right and small wrong) of the query with this text and its vector."""
        ...


class PreRouter:
    """Implements core.Router: the domain, and the gain of the large model. `last_text`: what the vector is of."""

    def __init__(self, router: VectorRouter, gain: Gain, last_text: Callable[[tuple[Message, ...]], str]) -> None:
        self._router, self._gain, self._last_text = router, gain, last_text

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The router's score with `gain` filled in."""
        score, vector = await self._router.score_with_vector(conversation)
        return replace(score, gain=self._gain.probability(vector, self._last_text(conversation)))
