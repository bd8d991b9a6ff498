"""The engine's work: step = schedule, run, postprocess. `run` is the body of its one thread.

Other threads only submit, cancel, administer adapters, close and read; a lock that is never held during a forward pass
guards the scheduler and the desk of adapters. A forward that raises fails the rows of that step and no others; the
engine goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from typing import Protocol

from serve_app.core import EngineError, FinishReason, HeadraceError
from serve_app.engine.drafting import Drafting
from serve_app.engine.request import Plan, Request, Row, SampledToken
from serve_app.engine.residence import Residence
from serve_app.engine.residency import Residency
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import PrefixStats, SlotTable

_log = logging.getLogger(__name__)

_POLL_S = 0.05
"""How often deadlines are looked at while nothing can run."""

Gate = Callable[[], AbstractContextManager[None]]
"""Gives a context that is held during a step."""


class StepRunner(Protocol):
    """What the loop needs of a Runner; called from the engine's thread only."""

    def run(self, plan: Plan) -> list[tuple[SampledToken, ...] | None]:
        """The tokens of each of `plan.sampled`, in order; None for a row whose logits are not finite."""
        ...

    def clear(self, slot: int) -> None:
        """Zero the cache slot of a failed row."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the engine is."""

    active_rows: int
    waiting_requests: int
    cached_tokens: int
    """Valid tokens in all cache slots, those of finished rows included."""
    prefixes: PrefixStats
    resident_adapters: Mapping[str, int]
    """Version -> adapter slot."""
    pinned_adapters: frozenset[str]
    """Versions."""
    adapter_loads: int
    """Begun so far."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the loop keeps, all under its lock."""

    scheduler: Scheduler
    slots: SlotTable
    adapters: Residency


class EngineLoop:
    """Drives a scheduler and a runner until closed. `gate` is entered around each step (see gate.py)."""

    def __init__(
        self,
        books: Books,
        runner: StepRunner,
        end_ids: Collection[int],
        gate: Gate,
        draft_tokens: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheduler, self._slots, self._adapters = books.scheduler, books.slots, books.adapters
        self._runner = runner
        self._end_ids = frozenset(end_ids)
        self._gate = gate
        self._clock = clock
        self._drafting = Drafting(draft_tokens)
        self._changed = threading.Condition()
        self._closed: HeadraceError | None = None

    def submit(self, *requests: Request) -> None:
        """Queue requests, all or none; the engine's thread feeds their sinks.

        Raises Overloaded, or EngineError where more come together than can be answered together.
        """
        with self._changed:
            self._refuse_if_closed()
            self._refuse_if_too_wide(requests)
            self._scheduler.add(*requests)
            self._changed.notify()

    def cancel(self, request_id: str) -> None:
        """Drop a request: at once if it waits, before the next step if it has a row. Unknown ids are finished ones."""
        with self._changed:
            self._scheduler.cancel(request_id)
            self._changed.notify()

    def close(self) -> None:
        """Let `run` end after the current step; requests in flight fail with EngineError."""
        with self._changed:
            self._closed = self._closed or EngineError("the engine was closed; send the request again")
            self._changed.notify()

    def load(self) -> Load:
        """A snapshot; raises EngineError once closed."""
        with self._changed:
            self._refuse_if_closed()
            return Load(
                active_rows=len(self._scheduler.rows),
                waiting_requests=self._scheduler.num_waiting,
                cached_tokens=self._slots.num_tokens_held,
                prefixes=self._slots.stats,
                resident_adapters=dict(self._adapters.resident()),
                pinned_adapters=frozenset(one.version for one in self._adapters.snapshot() if one.pinned),
                adapter_loads=self._adapters.num_loads,
            )

    def add_adapter(self, version: str) -> None:
        """Make an adapter known: requests may name it."""
        with self._changed:
            self._adapters.add(version)
            self._changed.notify()

    def preload_adapter(self, version: str) -> None:
        """Begin to load an adapter before it is asked for, if there is room."""
        with self._changed:
            self._adapters.ready(version)

    def remove_adapter(self, version: str) -> None:
        """No new row for it; those it has are answered to their end. Waiting requests fail with ModelNotFound."""
        with self._changed:
            self._adapters.remove(version)
            self._slots.drop_adapter(version)
            self._changed.notify()

    def pin_adapter(self, version: str, pinned: bool) -> None:
        """Load an adapter as soon as there is room and keep it resident, or let it be evicted again."""
        with self._changed:
            self._adapters.pin(version, pinned)
            self._changed.notify()

    def residence(self, version: str) -> Residence:
        """Where an adapter is now; raises ModelNotFound for one that is not known."""
        with self._changed:
            return self._adapters.residence(version)

    def adapter_loaded(self, slot: int, version: str) -> None:
        """The loader has written an adapter to its slot."""
        with self._changed:
            self._adapters.loaded(slot, version)
            self._changed.notify()

    def adapter_failed(self, slot: int, version: str, error: HeadraceError) -> None:
        """The loader could not; whoever waits for the adapter hears why."""
        with self._changed:
            self._adapters.failed(slot, version, copy(error))  # what was raised holds on to frames, tensors and all
            self._changed.notify()

    def run(self) -> None:
        """Step until closed. A fault outside a forward pass is a bug here: it closes the engine and says so to all."""
        try:
            while self._wait_for_work():
                self.step()
        except Exception as error:
            _log.exception("the engine loop broke and is closed")
            with self._changed:
                self._closed = EngineError(f"the engine broke down and must be restarted: {error}")
        finally:
            self._fail_everything()

    def step(self) -> None:
        """One step. Waits a moment where requests are here but none can run, for want of an adapter or a member."""
        with self._changed:
            expired = self._scheduler.expire(self._clock())
            self._scheduler.drop_cancelled()
            plan = self._scheduler.plan()
            if not plan.segments and not expired and not self._scheduler.idle:
                self._changed.wait(_POLL_S)
        for request, error in expired:
            _tell(request, copy(error))  # one of its own: whoever raises an error adds frames to it
        if not plan.segments:
            return
        with self._gate():
            start_s = time.perf_counter()
            try:
                results = self._runner.run(plan)
            except Exception as error:  # whatever torch raises: the rows must hear of it
                _log.exception("a forward pass failed; its %d rows are given up", len(plan.segments))
                self._fail_step(plan, error)
                return
            busy_s = time.perf_counter() - start_s
        self._account(plan, results, busy_s)
        for segment, tokens in zip(plan.sampled, results, strict=True):
            self._deliver(segment.row, tokens)
        self._drafting.propose(self._scheduler.rows)

    def _refuse_if_closed(self) -> None:
        if self._closed is not None:
            raise EngineError(str(self._closed))

    def _refuse_if_too_wide(self, requests: Sequence[Request]) -> None:
        """Requests that come together are answered together: each in a row, with all their adapters resident. An
        ensemble that does not fit would wait for ever."""
        if len(requests) < 2:
            return
        if len(requests) > self._scheduler.max_rows:
            raise EngineError(
                f"a group of {len(requests)} does not fit the {self._scheduler.max_rows} rows; raise max_rows or ask "
                f"for fewer members"
            )
        adapters = {request.adapter for request in requests} - {None}
        others = {one.version for one in self._adapters.snapshot() if one.pinned} - adapters
        num_slots = self._adapters.num_slots - len(others)
        if len(adapters) > num_slots:
            kept = f", of which {len(others)} are kept for other, pinned adapters" if others else ""
            raise EngineError(
                f"a group of {len(adapters)} adapters does not fit the {self._adapters.num_slots} adapter "
                f"slots{kept}; raise adapter_slots or name fewer"
            )

    def _wait_for_work(self) -> bool:
        """Block while idle, after checking the books; False once closed."""
        with self._changed:
            if self._scheduler.idle:
                self._scheduler.check()
                self._adapters.check()
            self._changed.wait_for(lambda: self._closed is not None or not self._scheduler.idle)
            return self._closed is None

    def _account(self, plan: Plan, results: Sequence[tuple[SampledToken, ...] | None], busy_s: float) -> None:
        """Bring the rows and the books up to date. The step's time is shared by tokens processed."""
        per_token_s = busy_s / plan.num_tokens
        for segment in plan.segments:
            row = segment.row
            row.busy_s += per_token_s * len(segment.token_ids)
            if row.prefilling:
                row.num_prefilled = segment.end
        with self._changed:
            self._scheduler.processed(plan, results)

    def _deliver(self, row: Row, tokens: tuple[SampledToken, ...] | None) -> None:
        """Give a row its tokens; free the row if they end it."""
        if tokens is None:
            self._runner.clear(row.slot)
            error = EngineError("the model's output was not finite; check this adapter and the dtype")
            self._give_up(row, error, reusable=False)
            return
        self._drafting.learn(row, tokens)
        for token in tokens:
            row.output_ids.append(token.token_id)
            finish = self._finish(row, token)
            try:
                done = row.request.sink.token(token, finish, row.usage)
            except Exception as error:
                _log.exception("the receiver of request %s failed; its row is freed", row.request.request_id)
                self._give_up(row, EngineError(f"the answer could not be delivered: {error}"), reusable=True)
                return
            if done or finish is not None:
                self._release(row, reusable=True)
                return

    def _finish(self, row: Row, token: SampledToken) -> FinishReason | None:
        if token.token_id in self._end_ids:
            return "stop"
        return "length" if len(row.output_ids) >= row.request.max_tokens else None

    def _fail_step(self, plan: Plan, error: Exception) -> None:
        """Give up the rows of a step that raised, and zero their slots: they may be half written."""
        with self._changed:
            rows = self._scheduler.touched(plan)
        for row in rows:
            self._runner.clear(row.slot)
            reason = EngineError(f"the forward pass failed: {type(error).__name__}: {error}")
            self._give_up(row, reason, reusable=False)

    def _give_up(self, row: Row, error: HeadraceError, reusable: bool) -> None:
        _tell(row.request, error)  # first: if freeing the row fails too, its request has heard
        self._release(row, reusable)

    def _release(self, row: Row, reusable: bool) -> None:
        self._drafting.forget(row)
        with self._changed:
            self._scheduler.release(row, reusable)

    def _fail_everything(self) -> None:
        """The end of the thread: every request still here hears why."""
        with self._changed:
            self._closed = reason = self._closed or EngineError("the engine stopped and must be restarted")
            rows = self._scheduler.rows
            requests = [row.request for row in rows] + self._scheduler.drop_waiting()
        for request in requests:
            _tell(request, EngineError(str(reason)))
        with self._changed:  # last: where the books are what broke, this fails too
            for row in rows:
                self._scheduler.release(row, reusable=False)


def _tell(request: Request, error: HeadraceError) -> None:
    try:
        request.sink.fail(error)
    except Exception:
        _log.exception("the receiver of request %s could not be told that it failed", request.request_id)
