"""What produces one answer: a single node. The cascade beside it has the same shape."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from serve_app.core import Call, Delta, Engine, Query
from serve_app.patterns.trace import Trace

SPARE_PRIORITY = -1
"""Below the 0 of other calls, which so get an engine's free rows first: for what takes the capacity that is left."""


@dataclass(frozen=True, slots=True)
class Node:
    """An engine as a pattern sees it."""

    name: str
    """`specialists` or `fallback`."""
    model: str
    engine: Engine

    def call(self, query: Query, adapter: str | None, choice_index: int) -> Call:
        """The generation this node is asked for. A seed is spread over the choices, so that they differ."""
        sampling = query.sampling
        if sampling.seed is not None and choice_index:
            sampling = replace(sampling, seed=(sampling.seed + choice_index) % 2**63)
        call_id = f"{query.query_id}:{self.name}:{choice_index}"
        priority = SPARE_PRIORITY if query.tier == "flex" else 0
        return Call(call_id, sampling, query.messages, query.prompt, adapter, query.key_id, priority)


class Answerer(Protocol):
    """Produces the deltas of one choice of a query."""

    def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Stream one choice; every engine call is opened in `trace`. What was yielded is never retracted."""
        ...


class Single:
    """One node answers, whatever it says."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Pass the node's deltas through."""
        call = self._node.call(query, adapter, choice_index)
        attempt = trace.begin(self._node.name, self._node.model, call, choice_index)
        async with aclosing(attempt.stream(self._node.engine)) as deltas:
            async for delta in deltas:
                if delta.finish_reason is not None:
                    attempt.settle("accepted")
                yield delta
