"""Which requests share the next step. Pure Python: no torch, no clock, no threads (its caller holds a lock).

Order of rows: those that decode come first and without a gap, so that the cache hands out views of rows 0 to n-1;
a row whose prompt is only partly processed comes after them, and there is at most one.

Fairness: a free row goes to the adapter with the fewest rows; between equals, to the one that has gone longest without
getting a row. So a hot adapter cannot keep another from its first row, however long its queue: the other waits for at
most one row of each adapter. Within an adapter the order is first come, first served.
"""

from __future__ import annotations

import random
from collections import Counter

from serve_app.core import EngineError, Overloaded
from serve_app.engine.request import Chunk, Move, Plan, Request, Row


class Scheduler:
    """Holds the waiting queue and the rows."""

    def __init__(self, max_rows: int, max_waiting: int, prefill_tokens: int) -> None:
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._prefill_tokens = prefill_tokens
        self._waiting: dict[str, Request] = {}
        """By request id, oldest first."""
        self._queues: dict[int | None, dict[str, None]] = {}
        """Adapter -> ids of its waiting requests, oldest first. No adapter with an empty queue is kept."""
        self._last_served: dict[int | None, int] = {}
        """Adapter -> the number of the admission that gave it its latest row."""
        self._num_admitted = 0
        self._rows: list[Row] = []
        self._cancelled: set[str] = set()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows in batch order."""
        return tuple(self._rows)

    @property
    def num_waiting(self) -> int:
        """Requests without a row."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rows and not self._waiting

    def add(self, request: Request) -> None:
        """Queue a request. Raises Overloaded when the rows are spoken for and `max_waiting` requests wait."""
        free_rows = self._max_rows - len(self._rows)
        if self.num_waiting >= free_rows + self._max_waiting:
            raise Overloaded(
                f"all {self._max_rows} rows are busy and {max(0, self.num_waiting - free_rows)} requests wait, "
                f"the most this engine queues; try again later"
            )
        if request.request_id in self._waiting or self._holds_row(request.request_id):
            raise EngineError(f"call {request.request_id!r} is already being answered; give each call its own call_id")
        self._waiting[request.request_id] = request
        self._queues.setdefault(request.adapter, {})[request.request_id] = None

    def cancel(self, request_id: str) -> bool:
        """Forget a waiting request at once, or mark a row to be freed before the next step. False: not here."""
        if request_id in self._waiting:
            self._take(request_id)
            return True
        if self._holds_row(request_id):
            self._cancelled.add(request_id)
            return True
        return False

    def drop_cancelled(self) -> list[Move]:
        """Free the rows that were cancelled; the moves that close the gaps, to be applied in order."""
        dropped = [row for row in self._rows if row.request.request_id in self._cancelled]
        return [move for row in dropped for move in self.release(row)]

    def drop_waiting(self) -> list[Request]:
        """Empty the queue, oldest first: the engine is closing or broken."""
        requests = list(self._waiting.values())
        self._waiting.clear()
        self._queues.clear()
        return requests

    def plan(self) -> Plan:
        """Admit requests to free rows and lay out the next step. Takes at most `prefill_tokens` of prompts."""
        decodes = tuple(row for row in self._rows if not row.prefilling)
        chunks: list[Chunk] = []
        budget = self._prefill_tokens
        if len(decodes) < len(self._rows):
            chunks.append(_next_chunk(self._rows[-1], budget))
            budget -= chunks[-1].end - chunks[-1].start
        while budget > 0 and self._waiting and len(self._rows) < self._max_rows:
            row = self._admit()
            chunks.append(_next_chunk(row, budget))
            budget -= chunks[-1].end - chunks[-1].start
        return Plan(decodes, tuple(chunks))

    def release(self, row: Row) -> list[Move]:
        """Take a row out of the batch; the moves that keep the order above, to be applied in order."""
        self._cancelled.discard(row.request.request_id)
        num_decoding = sum(not other.prefilling for other in self._rows)
        gap = row.index
        moves: list[Move] = []
        # The last decoding row fills the gap, and the prefilling row, if any, fills the gap that leaves.
        for source in sorted({num_decoding - 1, len(self._rows) - 1}):
            if source > gap:
                moves.append(Move(source, gap, self._rows[source].num_cached))
                self._rows[gap] = self._rows[source]
                self._rows[gap].index = gap
                gap = source
        self._rows.pop()
        return moves

    def check(self) -> None:
        """Raise EngineError if the books do not balance: a leaked row or request would show here."""
        if [row.index for row in self._rows] != list(range(len(self._rows))) or len(self._rows) > self._max_rows:
            raise EngineError(f"the rows are out of order: {[row.index for row in self._rows]}")
        num_queued = sum(len(queue) for queue in self._queues.values())
        if num_queued != len(self._waiting) or not all(self._queues.values()):
            raise EngineError(f"{num_queued} requests are queued but {len(self._waiting)} are known")
        if not self._cancelled <= {row.request.request_id for row in self._rows}:
            raise EngineError(f"cancelled requests hold no row: {sorted(self._cancelled)}")

    def _holds_row(self, request_id: str) -> bool:
        return any(row.request.request_id == request_id for row in self._rows)

    def _admit(self) -> Row:
        """Give the next free row to the request whose turn it is."""
        held = Counter(row.request.adapter for row in self._rows)
        adapter = min(self._queues, key=lambda key: (held[key], self._last_served.get(key, -1)))
        self._last_served[adapter] = self._num_admitted
        self._num_admitted += 1
        request = self._take(next(iter(self._queues[adapter])))
        row = Row(request, len(self._rows), random.Random(request.seed))
        self._rows.append(row)
        return row

    def _take(self, request_id: str) -> Request:
        """Remove a request from the queue."""
        request = self._waiting.pop(request_id)
        queue = self._queues[request.adapter]
        del queue[request_id]
        if not queue:
            del self._queues[request.adapter]
        return request


def _next_chunk(row: Row, budget: int) -> Chunk:
    return Chunk(row, row.num_prefilled, min(len(row.request.prompt_ids), row.num_prefilled + budget))
