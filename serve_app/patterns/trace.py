"""What happens to one query, written down while it happens, so that it is billed however it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from serve_app.confidence import Decision
from serve_app.core import (
    Answer,
    Attempt,
    AttemptRole,
    Call,
    DeadlineExceeded,
    Delta,
    Engine,
    HeadraceError,
    Outcome,
    Passage,
    Query,
    ReplicaLost,
    RouteScore,
    Usage,
)
from serve_app.patterns.patience import ANY_TIME, Patience
from serve_app.patterns.versions import Misversioned
from serve_app.telemetry import AttemptSpan, PassedOn, QuerySpan

_LOG = logging.getLogger(__name__)

Cause = Literal[
    "router_failed",
    "retriever_failed",
    "small_failed",
    "large_failed",
    "large_cold",
    "no_budget",
    "adapter_gone",
    "member_failed",
]


@dataclass(frozen=True, slots=True)
class Degradation:
    """Something failed or was lacking, and the query goes on in another way than is configured for it."""

    cause: Cause
    remark: str
    """For the account."""
    choice_index: int | None = None
    """None: it holds for all choices."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found in documents for a query, and what follows."""

    asked: Query
    """The query, with the passages before its question."""
    passages: tuple[Passage, ...] = ()
    """Those, in their order."""
    abstention: str | None = None
    """The answer, where nothing was found and no model shall be asked."""
    escalate: Decision | None = None
    """To the large model at once."""
    remarks: tuple[str, ...] = ()
    """For the account."""


class OpenAttempt:
    """One engine call in progress. Iterate `stream()`; then say what became of it with `settle`."""

    def __init__(
        self,
        node: str,
        model: str,
        call: Call,
        choice_index: int,
        span: AttemptSpan,
        is_late: Callable[[], bool] = lambda: False,
        role: AttemptRole = "answer",
    ) -> None:
        """`span` ends with the attempt. `is_late` tells whether the query's time is up."""
        self._span, self._is_late = span, is_late
        self.node, self.model, self.call, self.choice_index, self.role = node, model, call, choice_index, role
        self.usage = Usage()
        self.adapter_version: str | None = None
        """The one that answers, by its own word."""
        self.misversioned = False
        """Another version answered than was asked for; nothing of its answer went out."""
        self.confidence: float | None = None
        self.reason = ""
        """Why the cascade accepted or escalated it; empty where nobody judged."""
        self.outcome: Outcome | None = None
        self.finished = False
        """Its last delta is there."""
        self._started_s = time.perf_counter()
        self._ms: float | None = None

    async def stream(self, engine: Engine, patience: Patience = ANY_TIME) -> AsyncGenerator[Delta]:
        """The engine's deltas, with the bill kept current; closing this closes the engine's iterator.

        `patience` is for calls that have a turn; those that wait behind all others may take any time.
        An engine error settles the attempt as failed, or as timed out, and is raised on. One that fails after its
        last delta has said all. Raises Misversioned before anything of another version than asked for is passed on.
        """
        try:
            patience = ANY_TIME if self.call.priority < 0 else patience
            async with aclosing(patience.watched(engine.generate(self.call), self.node)) as source:
                async for delta in source:
                    self.heard(delta)
                    yield delta
            if not self.finished:
                raise ReplicaLost(f"The engine of {self.node} broke off its answer; try again.")
        except HeadraceError as error:
            if not self.finished:
                self.broke(error)
                raise
            _LOG.warning("%s failed after the end of its answer to %s: %s", self.node, self.call.call_id, error)
        except Exception:
            self.settle("failed")
            raise
        finally:
            self.close()

    def heard(self, delta: Delta) -> None:
        """Keep the bill current. Raises Misversioned for a delta of another adapter version than was asked for."""
        self.usage = delta.usage
        self.adapter_version = delta.adapter_version
        asked = self.call.adapter_version
        if asked is not None and self.adapter_version != asked:
            self.misversioned = True
            raise Misversioned(
                f"{self.node} answered with version {self.adapter_version} of {self.call.adapter!r} in place of "
                f"{asked}; try again."
            )
        if delta.finish_reason is not None:
            self.finished, self._ms = True, self._elapsed_ms()

    def broke(self, error: Exception) -> None:
        """It failed, or ran out of the time that it was given."""
        self.settle("timed_out" if isinstance(error, DeadlineExceeded) else "failed")

    def close(self) -> None:
        """Nothing more comes; where nobody settled it, it was late or cancelled. Only the first call counts."""
        if self.outcome is None and self._is_late():
            self.settle("timed_out")
        if self._ms is None:
            self._ms = self._elapsed_ms()
        self._span.end(self.record())

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started_s) * 1000

    def bill_only(self, completion_tokens: int) -> None:
        """Charge no more than this many completion tokens."""
        self.usage = replace(self.usage, completion_tokens=completion_tokens)

    def settle(self, outcome: Outcome) -> None:
        """Fix the outcome; the first call counts."""
        if self.outcome is None:
            self.outcome = outcome

    def accept_after_all(self, usage: Usage) -> None:
        """A whole draft that was rejected is given, and billed whole: there is nothing better."""
        self.outcome, self.usage = "accepted", usage

    def record(self) -> Attempt:
        """The attempt as it stands; one that nobody settled was cancelled."""
        return Attempt(
            node=self.node,
            model=self.model,
            adapter=self.call.adapter,
            outcome=self.outcome or "cancelled",
            usage=self.usage,
            ms=self._elapsed_ms() if self._ms is None else self._ms,
            adapter_version=self.adapter_version,
            choice_index=self.choice_index,
            confidence=self.confidence,
            role=self.role,
        )


class Trace:
    """Collects the route and the attempts of one query; `answer()` may be called at any moment."""

    def __init__(self, query: Query, span: QuerySpan | None = None) -> None:
        """`span`: of the query; whoever made it ends it."""
        self.query = query
        self.span: QuerySpan = span or PassedOn(query.traceparent)
        self.route: RouteScore | None = None
        self.streamed = True
        """The client is sent every delta as it comes; set to False where it is sent nothing before the whole answer."""
        self.failed = False
        """Set, like the next, by whoever reports an error to the client."""
        self.timed_out = False
        self.retried: list[str] = []
        """The node of each call that was made again because its replica was lost."""
        self.degradations: list[Degradation] = []
        self.sources: Sources | None = None
        """What documents had to say to it; None: none were searched."""
        self.passage_score: float | None = None
        """As in `Evidence`."""
        self.abstained: set[int] = set()
        """Choices that were answered with the abstention, and by no engine."""
        self.versions: dict[str, str] = {}
        """Adapter -> the version of it that answers this query, in all its calls."""
        self.on_first_token: Callable[[], None] = lambda: None
        """Called at the first text that is not held back for a decision any more, of a whole answer too."""
        self.first_token_ms: float | None = None
        self._early: Decision | None = None
        """What the query alone decided."""
        self._voted: Decision | None = None
        """What the answers of an ensemble decided, of the first choice that was."""
        self._looks: list[Attempt] = []
        """Of nodes that were asked about the query and answer nothing themselves."""
        self._attempts: list[OpenAttempt] = []
        self._started_s = time.perf_counter()

    @property
    def left_s(self) -> float | None:
        """What is left of the time that the query may take, 0 when it is up; None: it may take any."""
        if self.query.timeout_s is None:
            return None
        return max(0.0, self.query.timeout_s - (time.perf_counter() - self._started_s))

    @property
    def is_late(self) -> bool:
        """Whether the query's time is up."""
        return self.left_s == 0

    @property
    def asked(self) -> Query:
        """The query as models are asked it: with the passages, where there are any."""
        return self.query if self.sources is None else self.sources.asked

    def begin(self, node: str, model: str, call: Call, choice_index: int, role: AttemptRole = "answer") -> OpenAttempt:
        """Open an attempt; from now on it is billed. Its call has the query's time that is left.

        A call that is made again gets an id of its own.
        """
        span = self.span.attempt(node, model, call)
        num_before = sum(one.node == node and one.choice_index == choice_index for one in self._attempts)
        call_id = f"{call.call_id}:{num_before}" if num_before else call.call_id
        call = replace(call, call_id=call_id, timeout_s=self.left_s, traceparent=span.traceparent)
        attempt = OpenAttempt(node, model, call, choice_index, span, lambda: self.is_late, role)
        self._attempts.append(attempt)
        return attempt

    def looked(self, role: AttemptRole, node: str, model: str, outcome: Outcome, ms: float, busy_s: float = 0) -> None:
        """A node was asked about the query, such as the router. `ms`: its hop included; `busy_s`: its work alone."""
        usage = Usage(busy_s=busy_s)
        self._looks.append(Attempt(node, model, None, outcome, usage, ms, role=role))

    @property
    def is_drawn(self) -> bool:
        """Whether a call named a temperature above 0, be it that the client asked for none."""
        return any(one.call.sampling.temperature for one in self._attempts)

    @property
    def num_misversioned(self) -> int:
        """Attempts that were answered by another version of the adapter than was asked for."""
        return sum(one.misversioned for one in self._attempts)

    def decided(self, early: Decision) -> None:
        """The pre-router decided which model answers, before any attempt."""
        self._early = early

    def voted(self, decision: Decision) -> None:
        """An ensemble decided; of several choices the first that did counts."""
        self._voted = self._voted or decision

    def degraded(self, cause: Cause, remark: str, choice_index: int | None = None) -> None:
        """The query goes on in another way than is configured for it."""
        self.degradations.append(Degradation(cause, remark, choice_index))

    def first_token(self) -> None:
        """The first text of the answer is there; later calls count for nothing."""
        if self.first_token_ms is None:
            self.first_token_ms = (time.perf_counter() - self._started_s) * 1000
            self.on_first_token()

    def answer(self) -> Answer:
        """The unpriced account. A query with an unfinished choice failed if anything failed, else was cancelled."""
        attempts = tuple(attempt.record() for attempt in self._attempts)
        accepted = [attempt for attempt in attempts if attempt.outcome == "accepted"]
        last = accepted[0] if accepted else None
        reason, confidence = self._judgement()
        remarks = [*(self.sources.remarks if self.sources else ()), *(one.remark for one in self.degradations)]
        return Answer(
            query_id=self.query.query_id,
            created_at_s=self.query.created_at_s,
            requested_model=self.query.model,
            outcome=_outcome(attempts, self.failed, self.timed_out, bool(self.abstained)),
            attempts=(*self._looks, *attempts),
            key_id=self.query.key_id,
            route=self.route.label if self.route else None,
            route_probability=self.route.probability if self.route else None,
            adapter=last.adapter if last else None,
            adapter_version=last.adapter_version if last else None,
            model=last.model if last else None,
            escalated=self._is_escalated(attempts),
            reason="; ".join(dict.fromkeys(part for part in (reason, *remarks) if part)),
            confidence=confidence,
            first_token_ms=self.first_token_ms,
            tier=self.query.tier,
            ms=(time.perf_counter() - self._started_s) * 1000,
        )

    def _judgement(self) -> tuple[str, float | None]:
        """Reason and confidence: of a vote, or of the first draft that was judged, rather of one that did not fail."""
        if self._voted:
            return self._voted.reason, self._voted.confidence
        judged = [attempt for attempt in self._attempts if attempt.confidence is not None]
        judged.sort(key=lambda attempt: attempt.outcome == "failed")
        if judged:
            return judged[0].reason, judged[0].confidence
        return (self._early.reason, self._early.confidence) if self._early else ("", None)

    def _is_escalated(self, attempts: Sequence[Attempt]) -> bool:
        if any(one.cause == "small_failed" for one in self.degradations):
            return True
        kept = {one.choice_index for one in self.degradations if one.cause == "large_failed"}
        skipped = self._early is not None and not self._early.accept
        return skipped or any(one.outcome == "escalated" and one.choice_index not in kept for one in attempts)


def _outcome(attempts: Sequence[Attempt], failed: bool, timed_out: bool, abstained: bool) -> Outcome:
    """Accepted only where every choice that was begun has an accepted attempt, or was abstained from.

    Of a choice its last attempt counts: those before it were drafts, or failed and were made again. Of an ensemble one
    that was cancelled counts: its client left, whatever had become of the others.
    """
    in_order = sorted(attempts, key=lambda one: one.role == "member" and one.outcome == "cancelled")
    last = {attempt.choice_index: attempt.outcome for attempt in in_order}
    answered = {attempt.choice_index for attempt in attempts if attempt.outcome == "accepted"}
    open_ends = {outcome for index, outcome in last.items() if index not in answered}
    if timed_out or "timed_out" in open_ends:
        return "timed_out"
    if failed or "failed" in open_ends:
        return "failed"
    return "accepted" if (last or abstained) and not open_ends else "cancelled"
