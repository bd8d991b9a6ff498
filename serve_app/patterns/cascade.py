"""Small first; the large model only where the rule says that the small answer is likely wrong.

After the cascades of FrugalGPT (Chen et al. 2023, arXiv:2305.05176), with the decision taken while streaming: the first
tokens are held back until the rule is sure enough; then they are sent, or the small row is dropped at once and the
large model starts. Nothing that was sent is retracted, and no query is generated for more than twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from serve_app.confidence import AcceptanceRule, Decision, Evidence
from serve_app.core import Delta, Query, RouteScore, TokenStat
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.guard import Guard, Unguarded
from serve_app.patterns.observer import Observer, Unobserved
from serve_app.patterns.shadow.background import in_background
from serve_app.patterns.trace import OpenAttempt, Trace


class Cascade:
    """Two nodes and a rule between them. `rule` may be replaced while queries run; each keeps the one it began with."""

    def __init__(
        self,
        small: Node,
        large: Node,
        rule: AcceptanceRule,
        observer: Observer | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._small, self._large = small, large
        self._guard: Guard = guard or Unguarded()
        self.rule = rule
        self.observer: Observer = observer or Unobserved()
        """Told of every decision and of every accepted answer; may be replaced too."""

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The accepted small answer, or the large one, which sees the conversation but no adapter."""
        draft = _Draft(self._small, self.rule, self.observer, self._guard)
        async with aclosing(draft.accepted_deltas(query, trace, adapter, choice_index)) as deltas:
            async for delta in deltas:
                yield delta
        if draft.decision is not None and draft.decision.accept:
            self.observer.accepted(draft.decision, query, trace, draft.text, choice_index)
        else:
            async with aclosing(Single(self._large).answer(query, trace, None, choice_index)) as deltas:
                async for delta in deltas:
                    yield delta

    def draft(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The small half alone, behind every client: the accepted small answer, or nothing. Nobody looks on."""
        draft = _Draft(in_background(self._small), self.rule, Unobserved(), Unguarded())
        return draft.accepted_deltas(query, trace, adapter, choice_index)


class _Draft:
    """One small answer while it is held back, judged and, once accepted, passed on."""

    def __init__(self, small: Node, rule: AcceptanceRule, observer: Observer, guard: Guard) -> None:
        self._small, self._rule, self._observer, self._guard = small, rule, observer, guard
        self._checkpoints = rule.checkpoints
        self._num_passed = 0
        """Checkpoints already judged."""
        self._tokens: list[TokenStat] = []
        self.decision: Decision | None = None
        """None: not decided yet."""
        self.text = ""
        """Of the accepted answer so far."""

    async def accepted_deltas(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        """Yield the small answer once accepted; yield nothing and settle as escalated if it is not."""
        early = self._rule.before(trace.route)
        if early is not None:
            early = await self._allowed(trace, early)
            trace.decided(early)
            self.decision = early
            if not early.accept:
                return
            kept = Single(self._small).answer(query, trace, adapter, choice_index)
        else:
            kept = self._judged_deltas(query, trace, adapter, choice_index)
        async with aclosing(kept) as deltas:
            async for delta in deltas:
                self.text += delta.text
                yield delta

    async def _judged_deltas(
        self, query: Query, trace: Trace, adapter: str | None, choice_index: int
    ) -> AsyncGenerator[Delta]:
        call = self._small.call(query, adapter, choice_index)
        attempt = trace.begin(self._small.name, self._small.model, call, choice_index)
        held: list[Delta] = []
        async with aclosing(attempt.stream(self._small.engine)) as deltas:
            async for delta in deltas:
                finished = delta.finish_reason is not None
                held.append(delta)
                if self.decision is None:
                    self._tokens.extend(delta.tokens)
                    self.decision = await self._judge(trace, attempt, finished)
                if self.decision is None:
                    continue
                if not self.decision.accept:
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
            decision = self._ask(attempt, trace.route, count, False)
            if decision is not None:
                return _settle(attempt, await self._allowed(trace, decision), count)
        if not finished:
            return None
        decision = self._ask(attempt, trace.route, len(self._tokens), True)
        if decision is None:  # a rule's duty; without a word from it the large model answers
            decision = Decision(False, 0.0, "the rule did not decide on a finished answer")
        return _settle(attempt, await self._allowed(trace, decision), None)

    async def _allowed(self, trace: Trace, decision: Decision) -> Decision:
        """The decision, or the small answer after all where there is no budget for the large one.

        Nothing is known of how good such an answer is, so it is not audited and counts for no threshold.
        """
        if decision.accept or await self._guard.may_escalate(trace.query):
            return decision
        trace.lacked_budget = True
        return replace(decision, accept=True, reason=f"{decision.reason}; no budget to escalate", basis="uncovered")

    def _ask(self, attempt: OpenAttempt, route: RouteScore | None, num_tokens: int, finished: bool) -> Decision | None:
        tokens = tuple(self._tokens[:num_tokens])
        evidence = Evidence(tokens, finished, route, attempt.usage.prompt_tokens)
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
