"""The rows and what each holds: a cache slot and an adapter slot. Pure Python; its caller holds a lock."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Iterator

from serve_app.core import EngineError
from serve_app.engine.admission import AdapterDesk
from serve_app.engine.request import Copy, Request, Row
from serve_app.engine.slots import SlotTable

MAX_RETRY_AFTER_S = 60


class RowTable(Collection[Row]):
    """Rows in order of admission."""

    def __init__(self, slots: SlotTable, adapters: AdapterDesk) -> None:
        self._slots = slots
        self._adapters = adapters
        self._rows: dict[str, Row] = {}
        """By request id."""
        self._cancelled: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """The table may change meanwhile."""
        return iter(tuple(self._rows.values()))

    def __contains__(self, row: object) -> bool:
        return isinstance(row, Row) and self._rows.get(row.request.request_id) is row

    def answers(self, request_id: str) -> bool:
        """Whether a request has a row."""
        return request_id in self._rows

    def admit(self, request: Request) -> Copy | None:
        """Give a request a row; the copy that its cache slot needs. Its adapter must be ready and a slot be free."""
        lease = self._slots.take(request.adapter, request.prompt_ids)
        if lease is None:
            raise EngineError(f"request {request.request_id!r} was given a row but no cache slot is free")
        adapter_slot = None if request.adapter is None else self._adapters.hold(request.adapter)
        stream = random.Random(request.seed)
        row = Row(request, lease.slot, adapter_slot, stream, lease.num_reused, lease.num_reused)
        self._rows[request.request_id] = row
        return lease.copy

    def cancel(self, request_id: str) -> None:
        """Mark a request's row, to be released before the next step."""
        self._cancelled.add(request_id)

    @property
    def cancelled(self) -> tuple[Row, ...]:
        """The rows that are marked."""
        return tuple(self._rows[request_id] for request_id in self._cancelled)

    def is_cancelled(self, row: Row) -> bool:
        """Whether a row is marked."""
        return row.request.request_id in self._cancelled

    def release(self, row: Row, reusable: bool) -> None:
        """Free a row and what it holds. Raises EngineError if it is not here."""
        if row not in self:
            raise EngineError(f"request {row.request.request_id!r} holds no row")
        del self._rows[row.request.request_id]
        self._cancelled.discard(row.request.request_id)
        (self._slots.retire if reusable else self._slots.forget)(row.slot)
        if row.request.adapter is not None:
            self._adapters.release(row.request.adapter)

    def check(self) -> None:
        """Raise EngineError if a cache slot is held by no row, or by two."""
        self._slots.check([row.slot for row in self])
        if not self._cancelled <= self._rows.keys():
            raise EngineError(f"cancelled requests hold no row: {sorted(self._cancelled - self._rows.keys())}")


class Departures:
    """When the latest rows left: how fast rows become free."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque(maxlen=16)

    def add(self, now_s: float) -> None:
        """A row leaves. `now_s`: on any clock, always the same one."""
        self._at_s.append(now_s)

    @property
    def retry_after_s(self) -> int:
        """The mean time from one to the next, whole seconds from 1 to MAX_RETRY_AFTER_S; 1 while too few are known."""
        if len(self._at_s) < 2:
            return 1
        mean_s = (self._at_s[-1] - self._at_s[0]) / (len(self._at_s) - 1)
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(mean_s)))
