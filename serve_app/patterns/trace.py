"""What happens to one query, written down while it happens, so that it is billed however it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from serve_app.confidence import Decision
from serve_app.core import (
    Answer,
    Attempt,
    AttemptRole,
    Call,
    DeadlineExceeded,
    Delta,
    Engine,
    EngineError,
    Outcome,
    Query,
    RouteScore,
    Usage,
)
from serve_app.telemetry import AttemptSpan, PassedOn, QuerySpan


class OpenAttempt:
    """One engine call in progress. Iterate `stream()`; then say what became of it with `settle`."""

    def __init__(self, node: str, model: str, call: Call, choice_index: int, span: AttemptSpan) -> None:
        """`span` ends with the attempt."""
        self._span = span
        self.node, self.model, self.call, self.choice_index = node, model, call, choice_index
        self.usage = Usage()
        self.adapter_version: str | None = None
        self.confidence: float | None = None
        self.reason = ""
        """Why the cascade accepted or escalated it; empty where nobody judged."""
        self.outcome: Outcome | None = None
        self._started_s = time.perf_counter()
        self._ms: float | None = None

    async def stream(self, engine: Engine) -> AsyncGenerator[Delta]:
        """The engine's deltas, with the bill kept current; closing this closes the engine's iterator.

        An engine error settles the attempt as failed, or as timed out, and is raised on.
        """
        try:
            deltas: AsyncIterator[Delta] = engine.generate(self.call)
            finished = False
            async with aclosing(deltas) as source:  # type: ignore[type-var]
                async for delta in source:
                    self.usage = delta.usage
                    self.adapter_version = delta.adapter_version
                    finished = delta.finish_reason is not None
                    yield delta
            if not finished:
                raise EngineError(f"The engine of {self.node} broke off its answer; try again.")
        except DeadlineExceeded:
            self.settle("timed_out")
            raise
        except Exception:
            self.settle("failed")
            raise
        finally:
            self._ms = (time.perf_counter() - self._started_s) * 1000
            self._span.end(self.record())

    def bill_only(self, completion_tokens: int) -> None:
        """Charge no more than this many completion tokens."""
        self.usage = replace(self.usage, completion_tokens=completion_tokens)

    def settle(self, outcome: Outcome) -> None:
        """Fix the outcome; the first call counts."""
        if self.outcome is None:
            self.outcome = outcome

    def record(self) -> Attempt:
        """The attempt as it stands; one that nobody settled was cancelled."""
        elapsed_ms = (time.perf_counter() - self._started_s) * 1000
        return Attempt(
            node=self.node,
            model=self.model,
            adapter=self.call.adapter,
            outcome=self.outcome or "cancelled",
            usage=self.usage,
            ms=elapsed_ms if self._ms is None else self._ms,
            adapter_version=self.adapter_version,
            choice_index=self.choice_index,
            confidence=self.confidence,
        )


class Trace:
    """Collects the route and the attempts of one query; `answer()` may be called at any moment."""

    def __init__(self, query: Query, span: QuerySpan | None = None) -> None:
        """`span`: of the query; whoever made it ends it."""
        self.query = query
        self.span: QuerySpan = span or PassedOn(query.traceparent)
        self.route: RouteScore | None = None
        self.failed = False
        """Set by whoever reports an error to the client."""
        self.lacked_budget = False
        """A small answer was kept only because there was no budget to escalate."""
        self.first_token_ms: float | None = None
        self._early: Decision | None = None
        """What the query alone decided."""
        self._looks: list[Attempt] = []
        """Of nodes that were asked about the query and answer nothing themselves."""
        self._attempts: list[OpenAttempt] = []
        self._started_s = time.perf_counter()

    def begin(self, node: str, model: str, call: Call, choice_index: int) -> OpenAttempt:
        """Open an attempt; from now on it is billed."""
        span = self.span.attempt(node, model, call)
        attempt = OpenAttempt(node, model, replace(call, traceparent=span.traceparent), choice_index, span)
        self._attempts.append(attempt)
        return attempt

    def looked(self, role: AttemptRole, node: str, model: str, outcome: Outcome, ms: float, busy_s: float = 0) -> None:
        """A node was asked about the query, such as the router. `ms`: its hop included; `busy_s`: its work alone."""
        usage = Usage(busy_s=busy_s)
        self._looks.append(Attempt(node, model, None, outcome, usage, ms, role=role))

    def decided(self, early: Decision) -> None:
        """The pre-router decided which model answers, before any attempt."""
        self._early = early

    def first_token(self) -> None:
        """The client is being sent its first text; later calls count for nothing."""
        if self.first_token_ms is None:
            self.first_token_ms = (time.perf_counter() - self._started_s) * 1000

    def answer(self) -> Answer:
        """The unpriced account. A query with an unfinished choice failed if anything failed, else was cancelled."""
        attempts = tuple(attempt.record() for attempt in self._attempts)
        accepted = [attempt for attempt in attempts if attempt.outcome == "accepted"]
        last = accepted[0] if accepted else None
        judged = next((attempt for attempt in self._attempts if attempt.confidence is not None), None)
        skipped = self._early is not None and not self._early.accept
        reason, confidence = (self._early.reason, self._early.confidence) if self._early else ("", None)
        if judged:
            reason, confidence = judged.reason, judged.confidence
        return Answer(
            query_id=self.query.query_id,
            created_at_s=self.query.created_at_s,
            requested_model=self.query.model,
            outcome=_outcome(attempts, self.failed),
            attempts=(*self._looks, *attempts),
            key_id=self.query.key_id,
            route=self.route.label if self.route else None,
            route_probability=self.route.probability if self.route else None,
            adapter=last.adapter if last else None,
            adapter_version=last.adapter_version if last else None,
            model=last.model if last else None,
            escalated=skipped or any(attempt.outcome == "escalated" for attempt in attempts),
            reason=reason,
            confidence=confidence,
            first_token_ms=self.first_token_ms,
            tier=self.query.tier,
            ms=(time.perf_counter() - self._started_s) * 1000,
        )


def _outcome(attempts: tuple[Attempt, ...], failed: bool) -> Outcome:
    """Accepted only where every choice that was begun has an accepted attempt."""
    outcomes = {attempt.outcome for attempt in attempts}
    if "timed_out" in outcomes:
        return "timed_out"
    if failed or "failed" in outcomes:
        return "failed"
    begun = {attempt.choice_index for attempt in attempts}
    answered = {attempt.choice_index for attempt in attempts if attempt.outcome == "accepted"}
    return "accepted" if begun and begun == answered else "cancelled"
