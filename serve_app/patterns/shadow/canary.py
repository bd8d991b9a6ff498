"""A canary's answer beside the live version's: a query is asked once more in the background, of both others.

What is compared is what clients get: an answer that the cascade left to the large model counts as the large model's
answer, which is right by definition, for the canary and for the live version alike. What that costs is another matter.
"""

from dataclasses import dataclass
from typing import Protocol

from serve_app.core import Query, RouteScore
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.shadow.background import in_background
from serve_app.patterns.shadow.mirror import Drafter
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


@dataclass(frozen=True, slots=True)
class CanaryAnswer:
    """What a client got from a canary."""

    query: Query
    route: RouteScore | None
    adapter: str
    live: str
    """The version beside the canary."""
    text: str
    judged: bool
    """By the cascade's rule; else the small model's answer counted whatever it was."""
    escalated: bool = False
    """The text is the large model's."""
    passage_score: float | None = None
    """As in `confidence.Evidence`."""


class OnCompared(Protocol):
    """Takes what came out of one comparison."""

    def scored(self, canary_score: float, live_score: float) -> None:
        """Both answers, each against the large model's, 0 to 1."""
        ...

    def agreed(self, score: float) -> None:
        """There is no large model: how much the canary's answer agrees with the live version's, 0 to 1."""
        ...


class CanaryShadow:
    """Asks the live version, and the large model, what they would have answered. For one event loop."""

    def __init__(
        self,
        shadows: Shadows,
        small: Node,
        large: Node | None,
        drafter: Drafter | None,
        scorer: Scorer,
        report: OnShadow,
    ) -> None:
        """`drafter`: the small half of the cascade, for answers that its rule has judged; None: there is none."""
        self._shadows, self._drafter, self._scorer, self._report = shadows, drafter, scorer, report
        self._small = Single(in_background(small))
        self._large = Single(in_background(large)) if large else None

    def answered(self, answer: CanaryAnswer, compared: OnCompared) -> bool:
        """Compare this answer soon; False where there is no room for it. Returns at once."""
        return self._shadows.submit(
            f"comparison of the canary's answer to {answer.query.query_id}", lambda: self._run(answer, compared)
        )

    async def _run(self, answer: CanaryAnswer, compared: OnCompared) -> None:
        trace = shadow_trace(answer.query, "canary", answer.route, answer.passage_score)
        trace.versions[answer.adapter] = answer.live
        score: float | None = None
        told = "not scored"
        try:
            live_text = await self._live(answer, trace)
            if self._large is None:
                assert live_text is not None, "without a large model nothing is escalated"
                score = await scored(self._scorer, answer.query, answer.text, live_text)
                if score is not None:
                    told = f"agreement {score:.3f}"
                    compared.agreed(score)
                return
            score, live_score = await self._scores(answer, live_text, trace)
            if score is not None and live_score is not None:
                told = f"score {score:.3f}, the live version's {live_score:.3f}"
                compared.scored(score, live_score)
        finally:
            self._report(ShadowReport("canary", shadow_account(trace, f"canary: {told}"), score, None))

    async def _live(self, answer: CanaryAnswer, trace: Trace) -> str | None:
        """What the live version says; None: the rule leaves the query to the large model."""
        if not answer.judged or self._drafter is None:
            return await text_of(self._small.answer(trace.query, trace, answer.adapter, 0))
        text = await text_of(self._drafter.draft(trace.query, trace, answer.adapter, 0))
        accepted = any(attempt.outcome == "accepted" for attempt in trace.answer().attempts)
        return text if accepted else None

    async def _scores(
        self, answer: CanaryAnswer, live_text: str | None, trace: Trace
    ) -> tuple[float | None, float | None]:
        """Of the canary's answer and of the live version's."""
        if answer.escalated and live_text is None:
            return 1.0, 1.0
        if answer.escalated:
            reference = answer.text
        else:
            assert self._large is not None
            reference = await text_of(self._large.answer(trace.query, trace, None, 0))
        score = 1.0 if answer.escalated else await scored(self._scorer, answer.query, answer.text, reference)
        if live_text is None:
            return score, 1.0
        return score, await scored(self._scorer, answer.query, live_text, reference)
