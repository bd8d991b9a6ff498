"""What became of one logged request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from serve_app.core import EngineError, RequestError, Usage
from serve_app.labelling.requests import LoggedRequest


@dataclass(frozen=True, slots=True)
class Tried:
    """A request that Headrace answered."""

    request: LoggedRequest
    route: str | None
    accepted: bool
    """The small answer would have been sent."""
    small_answer: str | None = None
    """Whole; None where it was not asked for, or was thrown away by the server."""
    small_usage: Usage | None = None
    """As billed: of a draft that was dropped, the tokens that were judged. None: the small model was not asked."""
    large_answer: str | None = None
    """Of the log, else of the large model where that was asked."""
    large_usage: Usage | None = None
    """What the large answer took, where somebody counted."""
    measured: bool = False
    """`large_usage` was counted by our own large model; else by the log's."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a labelled attempt, for `headrace cascade fit`; empty where the server keeps them to itself."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that Headrace does not take."""

    request: LoggedRequest
    reason: str
    """The field at fault and why; no text of the request."""

    @classmethod
    def by(cls, request: LoggedRequest, error: RequestError) -> Refused:
        """Two requests at fault in the same field have the same reason."""
        field_name = ".".join(part for part in (error.param or "request").split(".") if not part.isdecimal())
        return cls(request, f"{field_name}: {error.code or 'refused'}")


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that went unanswered because of an engine, an endpoint or a server, through no fault of its own."""

    request: LoggedRequest
    error: EngineError


Outcome = Tried | Refused | Failed


class Source(Protocol):
    """Somebody who answers logged requests as the graph would."""

    async def collect(self, requests: Sequence[LoggedRequest], on_done: Callable[[int], object]) -> list[Outcome]:
        """One outcome a request, in their order; `on_done` is told how many more are done.

        Raises ConfigError, or EngineError where no engine can be started.
        """
        ...
