"""Which requests share the next step. Pure Python: no torch, no clock, no threads (its caller holds a lock).

The waiting queue (waiting.py) says whose turn it is, admission.py who of them gets a free row, packing.py which tokens
of the rows are processed, rows.py what a row holds; here they meet. One step, in this order:

    1. `expire`, `drop_cancelled`, `plan`
    2. the forward pass, outside the lock; `add` and `cancel` may come at any time
    3. the caller brings the rows up to date (num_prefilled, output_ids, draft_ids)
    4. `processed`, before any row of the plan is released
    5. `release` for each row that is done, or, if the forward pass failed, steps 3 and 4 are left out and all rows
       that `touched` names are released as not reusable

A plan is empty only when there is no row: what waits then waits for an adapter to be loaded or for its ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve_app.core import ConfigError, DeadlineExceeded, EngineError, HeadraceError, Overloaded
from serve_app.engine.admission import AdapterDesk, Admission, EngineLimits
from serve_app.engine.ensembles import Ensembles
from serve_app.engine.packing import lay_out, num_ahead
from serve_app.engine.request import Copy, Plan, Request, Row, SampledToken
from serve_app.engine.rows import Departures, RowTable
from serve_app.engine.slots import SlotTable
from serve_app.engine.waiting import WaitingQueue


class Scheduler:
    """Holds the waiting queue and the rows. Raises ConfigError if there are fewer cache slots than rows."""

    def __init__(self, limits: EngineLimits, slots: SlotTable, adapters: AdapterDesk) -> None:
        if slots.num_free < limits.max_rows:
            raise ConfigError(f"{limits.max_rows} rows need as many cache slots; there are {slots.num_free}")
        self._limits = limits
        self._slots = slots
        self._adapters = adapters
        self._admission = Admission(limits, adapters)
        self._waiting = WaitingQueue()
        self._ensembles = Ensembles(limits.max_rows)
        self._rows = RowTable(slots, adapters)
        self._now_s = 0.0
        """As of the latest `expire`."""
        self._departures = Departures()

    @property
    def max_rows(self) -> int:
        """Requests that can be answered at the same time."""
        return self._limits.max_rows

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows in order of admission."""
        return tuple(self._rows)

    @property
    def num_waiting(self) -> int:
        """Requests without a row."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether no request is here."""
        return not self._rows and not self._waiting

    def add(self, *requests: Request) -> None:
        """Queue requests, all or none; the members of an ensemble may come in one call or one by one.

        Raises Overloaded when the rows are spoken for and `max_waiting` requests wait, with the mean time between two
        rows that left as `retry_after_s`; EngineError if an id is in use or an ensemble cannot be served.
        """
        num_free = self._limits.max_rows - len(self._rows)
        if self.num_waiting + len(requests) > num_free + self._limits.max_waiting:
            raise Overloaded(
                f"all {self._limits.max_rows} rows are busy and {max(0, self.num_waiting - num_free)} requests wait, "
                f"the most this engine queues; try again later",
                self._departures.retry_after_s,
            )
        if self.idle:
            self._waiting.start_over()
        added: list[Request] = []
        try:
            for request in requests:
                self._add(request)
                added.append(request)
        except EngineError:
            for request in added:
                self._take(request.request_id)
            raise

    def cancel(self, request_id: str) -> bool:
        """Forget a waiting request at once, or mark a row to be freed before the next step. False: not here.

        The other members of an ensemble go on without it.
        """
        if request_id in self._waiting:
            self._take(request_id)
            return True
        if self._rows.answers(request_id):
            self._rows.cancel(request_id)
            return True
        return False

    def expire(self, now_s: float) -> list[tuple[Request, HeadraceError]]:
        """Let go of what cannot be answered, and why: what is past its deadline, rows included, and what waits for an
        adapter that cannot be served. `now_s` is on the clock of the deadlines."""
        self._now_s = now_s
        expired: list[tuple[Request, HeadraceError]] = []
        for row in self._rows:
            if _is_late(row.request, now_s) and not self._rows.is_cancelled(row):
                self.release(row)
                expired.append((row.request, _late("its answer was not finished")))
        errors = {adapter: self._adapters.error(adapter) for adapter in self._waiting.adapters if adapter is not None}
        for request in self._waiting:
            error = errors.get(request.adapter) if request.adapter is not None else None
            if _is_late(request, now_s):
                error = _late("its turn did not come")
            if error is not None:
                expired.append((self._take(request.request_id), error))
        return expired

    def drop_cancelled(self) -> None:
        """Free the rows that were cancelled."""
        for row in self._rows.cancelled:
            self.release(row)

    def drop_waiting(self) -> list[Request]:
        """Empty the queue, oldest first: the engine is closing or broken."""
        return [self._take(request.request_id) for request in self._waiting]

    def plan(self) -> Plan:
        """Admit requests to free rows and lay out the next step."""
        copies: list[Copy] = []
        self._admission.begin(self._waiting)
        while requests := self._admission.next(self._waiting, self._ensembles, self._rows):
            for request in requests:
                copy = self._rows.admit(self._take(request.request_id))
                copies += [copy] if copy else []
        return Plan(lay_out(self.rows, self._limits.step_tokens, self._turn), tuple(copies))

    def processed(self, plan: Plan, results: Sequence[tuple[SampledToken, ...] | None]) -> None:
        """Count what a plan has done; `results` holds an entry for each of `plan.sampled`, None for a row that failed.

        What is counted as written to a cache slot: the chunk of a prompt; of a decoding row's tokens as many as tokens
        were sampled, since those of its draft that were not accepted are not part of the answer.
        """
        sampled = dict(zip((id(segment) for segment in plan.sampled), results, strict=True))
        for segment in plan.segments:
            row, tokens = segment.row, sampled.get(id(segment), ())
            if tokens is None:
                continue
            of_prompt = segment.start < len(row.request.prompt_ids)
            written = segment.token_ids if of_prompt else segment.token_ids[: len(tokens)]
            self._slots.written(row.slot, written)
            self._waiting.charge(row.request, len(written) if of_prompt else 0, len(tokens))

    def touched(self, plan: Plan) -> tuple[Row, ...]:
        """Rows whose cache slots are in doubt if a plan failed: those it computes for, and those it copies to."""
        targets = {copy.target for copy in plan.copies} | {segment.row.slot for segment in plan.segments}
        return tuple(row for row in self._rows if row.slot in targets)

    def release(self, row: Row, reusable: bool = True) -> None:
        """Free a row. `reusable`: what was counted as written to its cache slot may serve later prompts."""
        self._rows.release(row, reusable)
        self._departures.add(self._now_s)

    def check(self) -> None:
        """Raise EngineError if the books do not balance: a leaked row, slot or request would show here."""
        self._waiting.check()
        self._rows.check()
        if len(self._rows) > self._limits.max_rows:
            raise EngineError(f"{len(self._rows)} rows are held, more than {self._limits.max_rows}")
        num_members = sum(request.ensemble is not None for request in self._waiting)
        if num_members != self._ensembles.num_waiting:
            raise EngineError(f"{num_members} members of ensembles wait, {self._ensembles.num_waiting} are known")
        both = [request.request_id for request in self._waiting if self._rows.answers(request.request_id)]
        if both:
            raise EngineError(f"requests with a row still wait: {both}")

    def _add(self, request: Request) -> None:
        if request.request_id in self._waiting or self._rows.answers(request.request_id):
            raise EngineError(f"call {request.request_id!r} is already being answered; give each call its own call_id")
        self._ensembles.add(request, self._rows)
        self._waiting.add(request)
        self._admission.asked_for(request)

    def _take(self, request_id: str) -> Request:
        """Remove a request from the queue."""
        request = self._waiting.take(request_id)
        self._ensembles.leave(request)
        return request

    def _turn(self, row: Row) -> tuple[int, int, int, int]:
        """Whose prompt goes first: the least served, between equals the shortest, so that a short prompt of a newcomer
        does not wait behind a long one."""
        return (-row.request.priority, *self._waiting.served(row.request), num_ahead(row))


def _is_late(request: Request, now_s: float) -> bool:
    return request.deadline_s is not None and now_s >= request.deadline_s


def _late(what: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"{what} within the time given; allow more time or ask for fewer tokens")
