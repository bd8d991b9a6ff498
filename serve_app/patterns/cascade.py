"""Small first; the large model only where the rule says that the small answer is likely wrong.

After the cascades of FrugalGPT (Chen et al. 2023, arXiv:2305.05176), with the decision taken while streaming: the first
tokens are held back until the rule has seen what it needs; then they are sent, or the small row is dropped at
once and the large model starts. Nothing that was sent is retracted.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.confidence import AcceptanceRule
from serve_app.core import Delta, Query, RouteScore, TokenStat
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.trace import OpenAttempt, Trace


class Cascade:
    """Two nodes and a rule between them. `rule` may be replaced while queries run; each keeps the one it began with."""

    def __init__(self, small: Node, large: Node, rule: AcceptanceRule) -> None:
        self._small = small
        self._large = Single(large)
        self.rule = rule

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The accepted small answer, or the large one, which sees the conversation but no adapter."""
        call = self._small.call(query, adapter, choice_index)
        attempt = trace.begin(self._small.name, self._small.model, call, choice_index)
        async with aclosing(self._draft(attempt, trace, self.rule)) as deltas:
            async for delta in deltas:
                yield delta
        if attempt.outcome == "escalated":
            async with aclosing(self._large.answer(query, trace, None, choice_index)) as deltas:
                async for delta in deltas:
                    yield delta

    async def _draft(self, attempt: OpenAttempt, trace: Trace, rule: AcceptanceRule) -> AsyncGenerator[Delta]:
        """Yield the small answer once accepted; yield nothing and settle as escalated if it is not."""
        held: list[Delta] = []
        tokens: list[TokenStat] = []
        accepted = False
        async with aclosing(attempt.stream(self._small.engine)) as deltas:
            async for delta in deltas:
                finished = delta.finish_reason is not None
                if not accepted:
                    held.append(delta)
                    tokens.extend(delta.tokens)
                    if not _enough(len(tokens), rule.tokens_needed(), finished):
                        continue
                    if not _judge(attempt, trace.route, rule, tokens):
                        return
                    accepted = True
                if finished:
                    attempt.settle("accepted")
                for ready in held or (delta,):
                    yield ready
                held.clear()


def _enough(num_tokens: int, needed: int | None, finished: bool) -> bool:
    return finished or (needed is not None and num_tokens >= needed)


def _judge(attempt: OpenAttempt, route: RouteScore | None, rule: AcceptanceRule, tokens: list[TokenStat]) -> bool:
    """Decide on exactly the tokens the rule asks for, however the engine grouped them into deltas.

    A rejected draft is billed for the tokens that were judged: how far the engine ran on before the abort reached
    it is chance, and equal queries must cost the same (docs/decisions/0003-bill-of-a-draft.md).
    """
    needed = rule.tokens_needed()
    judged = tokens[:needed]
    decision = rule.decide(judged, route.label if route else None)
    attempt.confidence = decision.confidence
    attempt.reason = decision.reason
    if not decision.accept:
        if len(judged) == needed:  # a shorter draft came to its end, and all that the engine counted is due
            attempt.bill_only(needed)
        attempt.settle("escalated")
    return decision.accept
