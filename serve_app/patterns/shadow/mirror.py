"""Mirror: what the cascade would have done, found out before it answers anybody.

Clients get the large model's answers. In the background the small node answers some of the queries, the rule judges,
and accepted answers are compared with what the client got.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from serve_app.confidence.watch import chosen
from serve_app.core import Delta, Query, RouteScore
from serve_app.patterns.answerers import Answerer
from serve_app.patterns.shadow.report import (
    OnShadow,
    Scorer,
    ShadowReport,
    scored,
    shadow_account,
    shadow_trace,
    text_of,
)
from serve_app.patterns.shadow.shadows import Shadows
from serve_app.patterns.trace import Trace


class Drafter(Protocol):
    """The small half of a cascade."""

    def draft(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Stream the small answer that the rule accepted, or end with nothing; settle its attempt as either.

        Where the rule decides from the query alone, there may be no attempt.
        """
        ...


class Mirror:
    """Mirrors a share of the queries, picked by their ids.

    The drafter is the cascade's own, so that the mirror judges as the cascade will and a draft costs what it will cost.
    """

    def __init__(self, share: float, shadows: Shadows, drafter: Drafter, scorer: Scorer, report: OnShadow) -> None:
        self.share = share
        """May be changed while queries run."""
        self._shadows, self._drafter, self._scorer, self._report = shadows, drafter, scorer, report

    def answered(
        self,
        query: Query,
        route: RouteScore | None,
        adapter: str | None,
        large_answer: str,
        passage_score: float | None = None,
    ) -> None:
        """The large model has answered; mirror the query if it is one of the sample. Returns at once."""
        if chosen(query.query_id, self.share, "mirror"):
            self._shadows.submit(
                f"mirror of query {query.query_id}",
                lambda: self._run(query, route, adapter, large_answer, passage_score),
            )

    async def _run(
        self,
        query: Query,
        route: RouteScore | None,
        adapter: str | None,
        large_answer: str,
        passage_score: float | None,
    ) -> None:
        trace = shadow_trace(query, "mirror", route, passage_score)
        would_accept: bool | None = None
        score: float | None = None
        try:
            small_answer = await text_of(self._drafter.draft(trace.query, trace, adapter, 0))
            would_accept = any(attempt.outcome == "accepted" for attempt in trace.answer().attempts)
            if would_accept:
                score = await scored(self._scorer, query, small_answer, large_answer)
        finally:
            reason = _reason(trace.answer().reason, would_accept, score)
            self._report(ShadowReport("mirror", shadow_account(trace, reason), score, would_accept))


class Mirrored:
    """An answerer that answers with the large model and offers each query to the mirror."""

    def __init__(self, large: Answerer, mirror: Mirror) -> None:
        self._large, self._mirror = large, mirror

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """Pass the large model's deltas through; the adapter is for the mirror. Of several choices the first counts."""
        texts: list[str] = []
        async with aclosing(self._large.answer(query, trace, None, choice_index)) as deltas:
            async for delta in deltas:
                texts.append(delta.text)
                if delta.finish_reason is not None and choice_index == 0:
                    self._mirror.answered(query, trace.route, adapter, "".join(texts), trace.passage_score)
                yield delta


def _reason(rule_reason: str, would_accept: bool | None, score: float | None) -> str:
    """For the account.

    >>> _reason("confidence 0.930 >= 0.8", True, 1.0)
    'would accept: confidence 0.930 >= 0.8; score 1.000'
    """
    verdict = {True: "would accept", False: "would escalate", None: "mirror: broke off"}[would_accept]
    told = f"{verdict}: {rule_reason}" if rule_reason else verdict
    return told if score is None else f"{told}; score {score:.3f}"
