"""A node as patterns see it, and what produces one answer: a single node here; cascade and ensemble have its shape."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from serve_app.core import Call, Delta, Engine, Query, Tier
from serve_app.patterns.failover import from_start
from serve_app.patterns.patience import ANY_TIME, Patience
from serve_app.patterns.trace import Trace
from serve_app.patterns.versions import NO_ADAPTERS, AdapterVersions
from serve_app.patterns.warmth import Waking

SPARE_PRIORITY = -1
"""Below the 0 of other calls, which so get an engine's free rows first: for what takes the capacity that is left."""
_PRIORITIES: dict[Tier, int] = {"flex": SPARE_PRIORITY, "default": 0, "priority": 1}


@dataclass(frozen=True, slots=True)
class Node:
    """An engine as a pattern sees it."""

    name: str
    """`specialists` or `fallback`."""
    model: str
    engine: Engine
    retries: int = 2
    """How often a call is made again that lost its replica before anything of its answer was sent."""
    waking: Waking | None = None
    """Of a node that may have no replica; None: it always has one."""
    patience: Patience = ANY_TIME
    """How long its calls may take before they count as failed."""
    adapters: AdapterVersions = NO_ADAPTERS
    """Those that it may be asked for."""

    def call(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> Call:
        """The generation this node is asked for. A seed is spread over the choices, so that they differ.

        All calls of a query ask for the same version of an adapter, which is noted in `trace`.
        """
        sampling = query.sampling
        if sampling.seed is not None and choice_index:
            sampling = replace(sampling, seed=(sampling.seed + choice_index) % 2**63)
        call_id = f"{query.query_id}:{self.name}:{choice_index}"
        version = None
        if adapter is not None:
            version = self.adapters.version(adapter, query, trace.versions.get(adapter))
            if version is not None:
                trace.versions[adapter] = version
        return Call(
            call_id,
            sampling,
            query.messages,
            query.prompt,
            adapter,
            query.key_id,
            _PRIORITIES[query.tier],
            adapter_version=version,
        )


class Answerer(Protocol):
    """Produces the deltas of one choice of a query."""

    def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Stream one choice; every engine call is opened in `trace`. What was yielded is never retracted."""
        ...


class Single:
    """One node answers, whatever it says."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Pass the node's deltas through."""

        def begin() -> AsyncGenerator[Delta]:
            return self._attempt(query, trace, adapter, choice_index)

        return from_start(begin, self._node.name, self._node.retries, trace)

    async def _attempt(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        call = self._node.call(query, trace, adapter, choice_index)
        attempt = trace.begin(self._node.name, self._node.model, call, choice_index)
        async with aclosing(attempt.stream(self._node.engine, self._node.patience)) as deltas:
            async for delta in deltas:
                if delta.finish_reason is not None:
                    attempt.settle("accepted")
                yield delta
