"""The waiting queue: whose turn it is when a row is free. Pure Python: no torch, no clock, no threads.

Order: higher priority first, whatever else holds. Within a priority by virtual tokens (Sheng et al., 2024, "Fairness in
Serving Large Language Models", OSDI) in two levels: first the adapter that was served least, within it the key that was
served least, within that the oldest request. A prompt token processed counts 1, an output token 2, a reused one 0. The
prompt tokens that rows still have ahead of them count as served when turns are taken, so that one adapter is not given
every free row before its first chunk is processed.

A client that had nothing waiting is lifted to the least served of those that wait: being idle earns no credit. So it
gets its turn after at most one admission of each other adapter of its priority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from serve_app.core import EngineError
from serve_app.engine.request import Request, Row

OUTPUT_WEIGHT = 2
"""Virtual tokens of one output token; a prompt token is 1."""

MAX_CLIENTS = 4096
"""Counters kept per level; past it the least served half of those that do not wait is forgotten."""

Client = TypeVar("Client")


class VirtualTokens(Generic[Client]):
    """What each client of one level was served, in virtual tokens."""

    def __init__(self) -> None:
        self._served: dict[Client | None, int] = {}
        self._last: Client | None = None
        """The client that was the last to have nothing waiting any more."""

    def served(self, client: Client) -> int:
        """Virtual tokens; only differences mean something."""
        return self._served.get(client, 0)

    def charge(self, client: Client, num_virtual: int) -> None:
        """Count service."""
        self._served[client] = self.served(client) + num_virtual

    def enter(self, client: Client, waiting: Collection[Client]) -> None:
        """`client` starts to wait beside `waiting`: lift it to the least served of these, or, where nobody waits, to
        the last that did."""
        floor = min((self.served(other) for other in waiting), default=self._served.get(self._last, 0))
        self._served[client] = max(self.served(client), floor)
        if len(self._served) > MAX_CLIENTS:
            keep = {client, self._last, *waiting}
            rest = sorted(self._served.keys() - keep, key=self._served.__getitem__)
            for known in rest[: MAX_CLIENTS // 2]:
                del self._served[known]

    def leave(self, client: Client) -> None:
        """`client` has nothing waiting any more."""
        self._last = client


class WaitingQueue:
    """Requests without a row. A request's key and adapter are its clients at the two levels."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}
        """By request id, oldest first."""
        self._queues: dict[int, dict[str | None, dict[str | None, dict[str, None]]]] = {}
        """Priority -> adapter -> key -> request ids, oldest first. Nothing empty is kept."""
        self._num_waiting: dict[str | None, Counter[str | None]] = {}
        """Adapter -> key -> waiting requests of all priorities. Nothing that is zero is kept."""
        self._adapters: VirtualTokens[str | None] = VirtualTokens()
        self._keys: dict[str | None, VirtualTokens[str | None]] = {}
        """Adapter -> what its keys were served."""

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def __iter__(self) -> Iterator[Request]:
        """Oldest first; the queue may change meanwhile."""
        return iter(tuple(self._requests.values()))

    @property
    def adapters(self) -> tuple[str | None, ...]:
        """Those that something waits for."""
        return tuple(self._num_waiting)

    def add(self, request: Request) -> None:
        """Queue a request whose id is not queued."""
        adapter, key = request.adapter, request.key
        if adapter not in self._num_waiting:
            self._adapters.enter(adapter, self._num_waiting)
        num_waiting = self._num_waiting.setdefault(adapter, Counter())
        if key not in num_waiting:
            self._keys.setdefault(adapter, VirtualTokens()).enter(key, num_waiting)
        num_waiting[key] += 1
        by_key = self._queues.setdefault(request.priority, {}).setdefault(adapter, {})
        by_key.setdefault(key, {})[request.request_id] = None
        self._requests[request.request_id] = request

    def take(self, request_id: str) -> Request:
        """Remove a request. Raises KeyError where it does not wait."""
        request = self._requests.pop(request_id)
        adapter, key = request.adapter, request.key
        by_adapter = self._queues[request.priority]
        del by_adapter[adapter][key][request_id]
        if not by_adapter[adapter][key]:
            del by_adapter[adapter][key]
        if not by_adapter[adapter]:
            del by_adapter[adapter]
        if not by_adapter:
            del self._queues[request.priority]
        num_waiting = self._num_waiting[adapter]
        num_waiting[key] -= 1
        if not num_waiting[key]:
            del num_waiting[key]
            self._keys[adapter].leave(key)
        if not num_waiting:
            del self._num_waiting[adapter]
            self._adapters.leave(adapter)
        return request

    def in_turn(self, rows: Collection[Row], open_to: Callable[[str | None], bool]) -> Iterator[Request]:
        """Requests in the order of their turns, given the rows that are held.

        `open_to` is asked about an adapter when its turn comes, once for each priority; if False, its requests are
        passed over. The queue may not change between two requests: take one and ask anew.
        """
        ahead: Counter[str | None] = Counter()
        ahead_by_key: Counter[tuple[str | None, str | None]] = Counter()
        for row in rows:
            num_ahead = len(row.request.prompt_ids) - row.num_prefilled
            ahead[row.request.adapter] += num_ahead
            ahead_by_key[row.request.adapter, row.request.key] += num_ahead
        for _, by_adapter in sorted(self._queues.items(), reverse=True):
            # Between equals the one that has waited longest: dicts keep the order, sorting is stable.
            for adapter in sorted(by_adapter, key=lambda adapter: self._adapters.served(adapter) + ahead[adapter]):
                if open_to(adapter):
                    yield from self._within(adapter, by_adapter[adapter], ahead_by_key)

    def _within(
        self,
        adapter: str | None,
        by_key: dict[str | None, dict[str, None]],
        ahead: Counter[tuple[str | None, str | None]],
    ) -> Iterator[Request]:
        """One adapter's requests of one priority."""
        served = self._keys[adapter].served
        for key in sorted(by_key, key=lambda key: served(key) + ahead[adapter, key]):
            for request_id in by_key[key]:
                yield self._requests[request_id]

    def served(self, request: Request) -> tuple[int, int]:
        """Virtual tokens of its adapter, and of its key within the adapter; what rows have ahead is not included."""
        keys = self._keys.get(request.adapter)
        return self._adapters.served(request.adapter), keys.served(request.key) if keys else 0

    def charge(self, request: Request, num_prompt_tokens: int, num_output_tokens: int) -> None:
        """Count what was processed and sampled for a request, waiting or not."""
        num_virtual = num_prompt_tokens + OUTPUT_WEIGHT * num_output_tokens
        self._adapters.charge(request.adapter, num_virtual)
        self._keys.setdefault(request.adapter, VirtualTokens()).charge(request.key, num_virtual)

    def start_over(self) -> None:
        """Forget all service: nobody waits or is served, so nobody is owed anything."""
        self._adapters = VirtualTokens()
        self._keys.clear()

    def check(self) -> None:
        """Raise EngineError if the books do not balance."""
        queued = {
            (request_id, priority, adapter, key)
            for priority, by_adapter in self._queues.items()
            for adapter, by_key in by_adapter.items()
            for key, request_ids in by_key.items()
            for request_id in request_ids
        }
        known = {(one.request_id, one.priority, one.adapter, one.key) for one in self._requests.values()}
        counted = Counter((one.adapter, one.key) for one in self._requests.values())
        num_waiting = {(adapter, key): num for adapter, keys in self._num_waiting.items() for key, num in keys.items()}
        if queued != known or num_waiting != counted:
            raise EngineError(
                f"{len(queued)} requests are queued, {sum(num_waiting.values())} counted, {len(known)} known"
            )
