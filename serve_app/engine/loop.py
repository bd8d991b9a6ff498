"""The engine's work: step = schedule, run, postprocess. `run` is the body of its one thread.

Other threads only `submit`, `cancel`, `close` and read; a lock that is never held during a forward pass guards the
scheduler. A forward that raises fails the rows of that step and no others; the engine goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from serve_app.core import EngineError, FinishReason, HeadraceError
from serve_app.engine.request import Move, Plan, Request, Row, SampledToken
from serve_app.engine.scheduler import Scheduler

_log = logging.getLogger(__name__)

Gate = Callable[[], AbstractContextManager[None]]
"""Gives a context that is held during a step."""


class StepRunner(Protocol):
    """What the loop needs of a Runner; called from the engine's thread only."""

    def run(self, plan: Plan) -> list[SampledToken | None]:
        """A token for each of `plan.sampled`, in order; None for a row whose logits are not finite."""
        ...

    def move(self, move: Move) -> None:
        """Copy one row's cache slot to another."""
        ...

    def clear(self, index: int) -> None:
        """Zero the cache slot of a failed row."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the engine is."""

    active_rows: int
    waiting_requests: int


class EngineLoop:
    """Drives a scheduler and a runner until closed. `gate` is entered around each step (see gate.py)."""

    def __init__(self, scheduler: Scheduler, runner: StepRunner, end_ids: Collection[int], gate: Gate) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._end_ids = frozenset(end_ids)
        self._gate = gate
        self._changed = threading.Condition()
        self._closed: HeadraceError | None = None

    def submit(self, request: Request) -> None:
        """Queue a request; the engine's thread feeds its sink. Raises Overloaded, or EngineError once closed."""
        with self._changed:
            if self._closed is not None:
                raise EngineError(str(self._closed))
            self._scheduler.add(request)
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
            if self._closed is not None:
                raise EngineError(str(self._closed))
            return Load(len(self._scheduler.rows), self._scheduler.num_waiting)

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
        """One step; does nothing when there is nothing to do."""
        with self._changed:
            moves = self._scheduler.drop_cancelled()
            plan = self._scheduler.plan()
        self._apply(moves)
        if plan.num_tokens == 0:
            return
        with self._gate():
            start_s = time.perf_counter()
            try:
                tokens = self._runner.run(plan)
            except Exception as error:  # whatever torch raises: the rows must hear of it
                _log.exception("a forward pass failed; its %d rows are given up", len(plan.decodes) + len(plan.chunks))
                self._fail_step(plan, error)
                return
            busy_s = time.perf_counter() - start_s
        self._account(plan, tokens, busy_s)
        for row, token in zip(plan.sampled, tokens, strict=True):
            if token is None:  # before any row is freed: a move would leave a copy of what is not finite
                self._runner.clear(row.index)
        for row, token in zip(plan.sampled, tokens, strict=True):
            self._deliver(row, token)

    def _wait_for_work(self) -> bool:
        """Block while idle, after checking the books; False once closed."""
        with self._changed:
            if self._scheduler.idle:
                self._scheduler.check()
            self._changed.wait_for(lambda: self._closed is not None or not self._scheduler.idle)
            return self._closed is None

    def _account(self, plan: Plan, tokens: list[SampledToken | None], busy_s: float) -> None:
        """Bring every row up to date before any is freed: a row that moves must know how much its slot holds.

        The step's time is shared by tokens processed.
        """
        per_token_s = busy_s / plan.num_tokens
        for row in plan.decodes:
            row.busy_s += per_token_s
        for chunk in plan.chunks:
            chunk.row.busy_s += per_token_s * (chunk.end - chunk.start)
            chunk.row.num_prefilled = chunk.end
        for row, token in zip(plan.sampled, tokens, strict=True):
            if token is not None:
                row.output_ids.append(token.token_id)

    def _deliver(self, row: Row, token: SampledToken | None) -> None:
        """Give a row its token; free the row if that was its last."""
        if token is None:
            self._give_up(row, EngineError("the model's output was not finite; check this adapter and the dtype"))
            return
        finish = self._finish(row, token)
        try:
            done = row.request.sink.token(token, finish, row.usage)
        except Exception as error:
            _log.exception("the receiver of request %s failed; its row is freed", row.request.request_id)
            self._give_up(row, EngineError(f"the answer could not be delivered: {error}"))
            return
        if done or finish is not None:
            self._release(row)

    def _finish(self, row: Row, token: SampledToken) -> FinishReason | None:
        if token.token_id in self._end_ids:
            return "stop"
        return "length" if len(row.output_ids) >= row.request.max_tokens else None

    def _fail_step(self, plan: Plan, error: Exception) -> None:
        """Give up the rows of a step that raised, and zero their slots: they may be half written."""
        rows = (*plan.decodes, *(chunk.row for chunk in plan.chunks))
        for row in rows:
            self._runner.clear(row.index)
        for row in rows:
            self._give_up(row, EngineError(f"the forward pass failed: {type(error).__name__}: {error}"))

    def _give_up(self, row: Row, error: HeadraceError) -> None:
        _tell(row.request, error)  # first: if freeing the row fails too, its request has heard
        self._release(row)

    def _release(self, row: Row) -> None:
        with self._changed:
            moves = self._scheduler.release(row)
        self._apply(moves)

    def _apply(self, moves: list[Move]) -> None:
        """Carry out moves, without the lock: copying a long row takes milliseconds."""
        for move in moves:
            self._runner.move(move)

    def _fail_everything(self) -> None:
        """The end of the thread: every request still here hears why."""
        with self._changed:
            self._closed = reason = self._closed or EngineError("the engine stopped and must be restarted")
            requests = [row.request for row in self._scheduler.rows] + self._scheduler.drop_waiting()
            for row in reversed(self._scheduler.rows):
                self._scheduler.release(row)
        for request in requests:
            _tell(request, EngineError(str(reason)))


def _tell(request: Request, error: HeadraceError) -> None:
    try:
        request.sink.fail(error)
    except Exception:
        _log.exception("the receiver of request %s could not be told that it failed", request.request_id)
