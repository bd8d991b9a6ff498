"""What is sent: kinds of chat completion, drawn by weight."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.core import Tier


def numbered(number: int) -> str:
    """A question that no other request of the run asks."""
    return f"easy question number {number}"


@dataclass(frozen=True, slots=True)
class Ask:
    """A kind of request."""

    model: str = "auto"
    text: Callable[[int], str] = numbered
    """The user's message, from the request's place in the schedule."""
    stream: bool = True
    max_tokens: int | None = None
    tier: Tier | None = None
    key: str | None = None
    """Bearer token."""
    weight: float = 1.0
    """Its share of the requests, against the other kinds'."""
    name: str = ""
    """What the outcome is filed under."""
    more: dict[str, Any] = field(default_factory=dict)
    """Other fields of the body."""

    def body(self, number: int) -> bytes:
        """The request's JSON."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.text(number)}],
            "stream": self.stream,
            **self.more,
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.tier is not None:
            body["service_tier"] = self.tier
        return json.dumps(body).encode()


def drawn(asks: Sequence[Ask], num_requests: int, seed: int) -> list[Ask]:
    """One kind for each request."""
    return random.Random(seed).choices(asks, [ask.weight for ask in asks], k=num_requests)
