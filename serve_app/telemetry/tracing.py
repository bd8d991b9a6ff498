"""Spans of one query: the protocols, and the tracer that keeps none. Standard library only.

    query span                     gateway; begins with admission, ends with the bill
    ├── route, retrieve            child(): the router, the retriever
    ├── chat MODEL                 attempt(): one engine call; its `traceparent` goes along in `core.Call`
    │   └── generate               Tracer.remote(): the engine's replica
    └── record                     child(): journal and ledger

No text of a prompt or an answer is ever an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serve_app.core import Answer, Attempt, Call, Query

AttributeValue = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, AttributeValue]


class Span(Protocol):
    """A stretch of time with a name. For one thread; no method blocks or raises."""

    @property
    def traceparent(self) -> str | None:
        """W3C trace context under which another process puts its spans; None: there is no trace."""
        ...

    def end(self, attributes: Attributes | None = None, error: str | None = None) -> None:
        """It ends now. `error`: a low-cardinality word for what failed. Only the first call counts."""
        ...


class AttemptSpan(Protocol):
    """The span of one engine call."""

    @property
    def traceparent(self) -> str | None:
        """What `core.Call.traceparent` has to be."""
        ...

    def end(self, attempt: Attempt) -> None:
        """It ends now, as the attempt stands. Only the first call counts."""
        ...


class QuerySpan(Protocol):
    """The span of one query, and the way to those under it."""

    @property
    def traceparent(self) -> str | None:
        """What background work for this query (a shadow) begins under."""
        ...

    def child(self, name: str, attributes: Attributes | None = None) -> Span:
        """A step of the query begins now."""
        ...

    def attempt(self, node: str, model: str, call: Call) -> AttemptSpan:
        """An engine call begins now; `model` is the node's."""
        ...

    def end(self, account: Answer) -> None:
        """The query is over; whatever under it is still open ends too. `account` is its priced account."""
        ...


class Tracer(Protocol):
    """Where spans go. For one event loop."""

    def query(self, query: Query) -> QuerySpan:
        """A query begins now, under `query.traceparent` where the client sent one."""
        ...

    def remote(self, name: str, traceparent: str | None, attributes: Attributes | None = None) -> Span:
        """Work begins now for a span of another process; with no `traceparent` nothing is kept."""
        ...

    async def close(self) -> None:
        """Send off what is there and end, within a few seconds. A collector that does not answer loses it."""
        ...


class PassedOn:
    """A span that is not kept. It hands on the trace context that it was given, so that a trace is not torn."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def child(self, name: str, attributes: Attributes | None = None) -> Span:
        """Nothing begins."""
        return self

    def attempt(self, node: str, model: str, call: Call) -> AttemptSpan:
        """Nothing begins."""
        return self

    def end(self, *_: object, **__: object) -> None:
        """Nothing ends."""


class NullTracer:
    """Keeps nothing; what a client sent as trace context still reaches the engines."""

    def query(self, query: Query) -> QuerySpan:
        """Nothing begins."""
        return PassedOn(query.traceparent)

    def remote(self, name: str, traceparent: str | None, attributes: Attributes | None = None) -> Span:
        """Nothing begins."""
        return PassedOn(traceparent)

    async def close(self) -> None:
        """There is nothing to send."""
