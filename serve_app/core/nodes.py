"""The protocols that the nodes of a graph answer to, and what they say of themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from serve_app.core.accounts import Answer
from serve_app.core.generation import Delta, MemberDelta
from serve_app.core.passages import Retrieval, Search
from serve_app.core.queries import Call, Group, Message


@dataclass(frozen=True, slots=True)
class RouteScore:
    """A router's view of a query. `label` is `general` when the best probability is below the floor."""

    label: str
    probability: float
    """Calibrated probability of `label`'s best candidate (before the floor was applied)."""
    probabilities: Mapping[str, float]
    gain: float | None = None
    """Probability that the large model answers right and the small one wrong, from the query alone; None: not asked."""
    busy_s: float = 0.0
    """Seconds that scoring took in the router, waiting not included."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine serves now. `adapters`: name -> version; `prompt_tokens`: of all calls that got a row."""

    model: str
    max_context_tokens: int
    adapters: Mapping[str, str] = field(default_factory=dict)
    warm_adapters: tuple[str, ...] = ()
    """Those that sample, with a temperature above 0, where a call names none."""
    longest_answers: Mapping[str, int] = field(default_factory=dict)
    """Adapter name -> most tokens of its answers where a call names none; the others have the node's bound."""
    dtype: str = ""
    device: str = ""
    active_rows: int = 0
    waiting_calls: int = 0
    resident_adapters: tuple[str, ...] = ()
    """Loaded ones, the pinned always; others are loaded when asked for, which began `adapter_loads` times so far."""
    pinned_adapters: tuple[str, ...] = ()
    adapter_loads: int = 0
    cache_bytes: int = 0
    """Bound on the key-value cache."""
    cached_tokens: int = 0
    """Tokens in the key-value cache now, those of finished rows included."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Of these, how many were not computed again because an earlier call began alike. Included in prompt_tokens."""


class Engine(Protocol):
    """Generates text. Safe for concurrent calls from one event loop."""

    def generate(self, call: Call) -> AsyncIterator[Delta]:
        """Stream the answer to `call`; closing the iterator frees its row at once.

        Raises PromptTooLong, ModelNotFound (unknown adapter), Overloaded or EngineError, before or between deltas.
        """
        ...

    async def info(self) -> EngineInfo:
        """The engine's state; raises EngineError when it cannot answer."""
        ...


@runtime_checkable
class GroupEngine(Engine, Protocol):
    """An engine that answers several calls of one query side by side."""

    def generate_group(self, group: Group) -> AsyncIterator[MemberDelta]:
        """Stream all members' answers as they come, each to its last delta or its error.

        Closing the iterator frees all rows at once. A member that fails says so by its `error`, and the others go on;
        in lock step they fail together. Raises what `Engine.generate` raises where the group as a whole cannot be
        taken, and RequestError for a group in lock step where the engine cannot do that.
        """
        ...


class Router(Protocol):
    """Names the domain of a conversation."""

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """Changes nothing; reads at most the head and the tail of the text."""
        ...


class Retriever(Protocol):
    """Finds passages of documents that fit a question."""

    async def retrieve(self, search: Search) -> Retrieval:
        """The best passages, best first; none where nothing is found or the collection is empty.

        Raises CollectionNotFound, RequestError for a search that cannot be made, RetrieverError, and ReplicaLost where
        another replica may answer.
        """
        ...


class Ledger(Protocol):
    """The one writer of the query accounts."""

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store the accounts; idempotent by `query_id`. Returns after commit. Raises LedgerError."""
        ...

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account with its attempts, or None."""
        ...

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        """Totals and groups from `since_s` to before `until_s`, epoch seconds. Raises RequestError on a bad group."""
        ...

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Newest first, of one key or of all. `before`: what arrived before a time, or comes after a time and id."""
        ...
