"""Small first; the large model only where the rule says that the small answer is likely wrong.

After the cascades of FrugalGPT (Chen et al. 2023, arXiv:2305.05176), with the decision taken while streaming: the first
tokens are held back until the rule is sure enough; then they are sent, or the small row is dropped at once and the
large model starts. Nothing that was sent is retracted, and no query is generated for more than twice unless a node
fails.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from serve_app.confidence import AcceptanceRule, Decision, Evidence
from serve_app.core import Delta, Query, TokenStat
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.failover import Tried, because, from_start
from serve_app.patterns.guard import Guard, Unguarded, is_granted
from serve_app.patterns.observer import Observer, Unobserved
from serve_app.patterns.shadow.background import in_background
from serve_app.patterns.trace import OpenAttempt, Trace
from serve_app.patterns.warmth import Waking


@dataclass(frozen=True, slots=True)
class WhenFailed:
    """What is done when a model fails, as in `cascade.when_small_fails` and `when_large_fails`."""

    small: Literal["escalate", "fail"] = "escalate"
    large: Literal["accept_small", "fail"] = "accept_small"


class Cascade:
    """Two nodes and a rule between them. `rule` may be replaced while queries run; each keeps the one it began with."""

    def __init__(
        self,
        small: Node,
        large: Node,
        rule: AcceptanceRule,
        observer: Observer | None = None,
        guard: Guard | None = None,
        when_failed: WhenFailed | None = None,
    ) -> None:
        self._small, self._large = small, large
        self._guard: Guard = guard or Unguarded()
        self.rule = rule
        self.observer: Observer = observer or Unobserved()
        """Told of every decision and of every accepted answer; may be replaced too."""
        self.when_failed = when_failed or WhenFailed()
        """May be replaced too."""

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The accepted small answer, or the large one, which sees the conversation but no adapter.

        Where one of the two models fails before anything of it was sent, the other one answers, as `when_failed` says.
        """
        when_failed = self.when_failed
        draft = _Draft(self._small, self.rule, self.observer, self._guard, self._large.waking)
        small = Tried(draft.accepted_deltas(query, trace, adapter, choice_index))
        async with aclosing(small.deltas()) as deltas:
            async for delta in deltas:
                yield delta
        if small.error is not None:
            if not (when_failed.small == "escalate" and await self._guard.may_escalate(query)):
                raise small.error
            trace.degraded("small_failed", because("the small model", small.error), choice_index)
        elif draft.decision is not None and draft.decision.accept:
            self.observer.accepted(draft.decision, query, trace, draft.text, choice_index)
            return
        large = Tried(Single(self._large).answer(query, trace, None, choice_index))
        async with aclosing(large.deltas()) as deltas:
            async for delta in deltas:
                yield delta
        if large.error is None:
            return
        if small.error is not None or when_failed.large == "fail":
            raise large.error
        trace.degraded("large_failed", because("the large model", large.error), choice_index)
        async with aclosing(draft.after_all(query, trace, adapter, choice_index)) as deltas:
            async for delta in deltas:
                yield delta

    def draft(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The small half alone, behind every client: the accepted small answer, or nothing. Nobody looks on."""
        draft = _Draft(in_background(self._small), self.rule, Unobserved(), Unguarded())
        return draft.accepted_deltas(query, trace, adapter, choice_index)


class _Draft:
    """One small answer while it is held back, judged and, once accepted, passed on."""

    def __init__(
        self, small: Node, rule: AcceptanceRule, observer: Observer, guard: Guard, waking: Waking | None = None
    ) -> None:
        """`waking`: of the large model."""
        self._small, self._rule, self._observer, self._guard, self._waking = small, rule, observer, guard, waking
        self._checkpoints = rule.checkpoints
        self._num_passed = 0
        """Checkpoints already judged."""
        self._tokens: list[TokenStat] = []
        self._attempt: OpenAttempt | None = None
        self._rejected: list[Delta] = []
        """All deltas of a draft that was rejected when it had ended; empty: it had not, or there is none."""
        self.decision: Decision | None = None
        """None: not decided yet."""
        self.text = ""
        """Of the accepted answer so far."""

    async def accepted_deltas(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        """Yield the small answer once accepted; yield nothing and settle as escalated if it is not."""
        early = (trace.sources.escalate if trace.sources else None) or self._rule.before(trace.route)
        if early is not None:
            early = await self._allowed(trace, early, choice_index)
            trace.decided(early)
            self.decision = early
            if not early.accept:
                return
            kept = Single(self._small).answer(query, trace, adapter, choice_index)
        else:

            def begin() -> AsyncGenerator[Delta]:
                return self._judged_deltas(query, trace, adapter, choice_index)

            kept = from_start(begin, self._small.name, self._small.retries, trace)
        async with aclosing(kept) as deltas:
            async for delta in deltas:
                self.text += delta.text
                yield delta

    async def after_all(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        """The small answer in the place of the large one: the draft where it is whole, else one from the start.

        Nothing is known of how good it is, so it is not audited and counts for no threshold.
        """
        if self._attempt is not None and self._rejected:
            self._attempt.accept_after_all(self._rejected[-1].usage)
            for delta in self._rejected:
                yield delta
            return
        if self._attempt is None and self.decision is not None:  # decided on the query alone, otherwise
            trace.decided(replace(self.decision, accept=True, basis="uncovered"))
        async with aclosing(Single(self._small).answer(query, trace, adapter, choice_index)) as deltas:
            async for delta in deltas:
                yield delta

    async def _judged_deltas(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        """One attempt at it, from the start."""
        self._num_passed, self._tokens, self.decision = 0, [], None
        call = self._small.call(query, trace, adapter, choice_index)
        attempt = self._attempt = trace.begin(self._small.name, self._small.model, call, choice_index)
        held: list[Delta] = []
        async with aclosing(attempt.stream(self._small.engine, self._small.patience)) as deltas:
            async for delta in deltas:
                finished = delta.finish_reason is not None
                held.append(delta)
                if self.decision is None:
                    self._tokens.extend(delta.tokens)
                    self.decision = await self._judge(trace, attempt, finished)
                if self.decision is None:
                    continue
                if not self.decision.accept:
                    self._rejected = held if finished else []
                    return
                if finished:
                    attempt.settle("accepted")
                for ready in held:
                    yield ready
                held.clear()

    async def _judge(self, trace: Trace, attempt: OpenAttempt, finished: bool) -> Decision | None:
        """Ask the rule at each checkpoint that was passed, and at the end; None: hold on.

        Exactly the tokens of a checkpoint are shown, however the engine grouped them into deltas: the same answer gets
        the same decision.
        """
        while self._num_passed < len(self._checkpoints):
            count = self._checkpoints[self._num_passed]
            if len(self._tokens) < count or (finished and len(self._tokens) == count):
                break
            self._num_passed += 1
            decision = self._ask(attempt, trace, count, False)
            if decision is not None:
                return _settle(attempt, await self._allowed(trace, decision, attempt.choice_index), count)
        if not finished:
            return None
        decision = self._ask(attempt, trace, len(self._tokens), True)
        if decision is None:  # a rule's duty; without a word from it the large model answers
            decision = Decision(False, 0.0, "the rule did not decide on a finished answer")
        return _settle(attempt, await self._allowed(trace, decision, attempt.choice_index), None)

    async def _allowed(self, trace: Trace, decision: Decision, choice_index: int) -> Decision:
        """The decision, or the small answer after all where the large model is not up, or there is no budget for it.

        Nothing is known of how good such an answer is, so it is not audited and counts for no threshold.
        """
        if decision.accept or await is_granted(self._guard, self._waking, trace, choice_index):
            return decision
        return replace(decision, accept=True, basis="uncovered")

    def _ask(self, attempt: OpenAttempt, trace: Trace, num_tokens: int, finished: bool) -> Decision | None:
        tokens = tuple(self._tokens[:num_tokens])
        num_prompt, score = attempt.usage.prompt_tokens, trace.passage_score
        evidence = Evidence(tokens, finished, trace.route, num_prompt, passage_score=score)
        decision = self._rule.judge(evidence, attempt.adapter_version)
        if decision is not None:
            self._observer.decided(evidence, attempt, decision)
        return decision


def _settle(attempt: OpenAttempt, decision: Decision, judged_tokens: int | None) -> Decision:
    """Note the decision. `judged_tokens`: those of a draft that had not ended.

    A rejected draft is billed for the tokens that were judged: how far the engine ran on before the abort reached it is
    chance, and equal queries must cost the same (docs/decisions/0003-bill-of-a-draft.md).
    """
    attempt.confidence, attempt.reason = decision.confidence, decision.reason
    if not decision.accept:
        if judged_tokens is not None:
            attempt.bill_only(judged_tokens)
        attempt.settle("escalated")
    return decision
