"""Audit: a few queries whose small answer was accepted are asked again of the large model.

The client has its answer by then. What the comparison says goes to the watch over the guarantee.
"""

from serve_app.confidence import Decision, Evidence
from serve_app.confidence.watch import Audit, Watch
from serve_app.core import Query, RouteScore
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.shadow.background import in_background
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
from serve_app.patterns.trace import OpenAttempt, Trace


class Auditor:
    """A cascade's `Observer`: notes every decision, and audits those accepted answers that the watch picks."""

    def __init__(self, watch: Watch, shadows: Shadows, large: Node, scorer: Scorer, report: OnShadow) -> None:
        self.watch = watch
        """May be replaced while queries run; an audit reports to the watch that asked for it."""
        self._shadows, self._scorer, self._report = shadows, scorer, report
        self._large = Single(in_background(large))

    def decided(self, evidence: Evidence, attempt: OpenAttempt, decision: Decision) -> None:
        """See `Observer`."""
        self.watch.decided(evidence, decision)

    def accepted(self, decision: Decision, query: Query, trace: Trace, text: str, choice_index: int) -> None:
        """See `Observer`. Of several choices the first may be audited: they are as good as each other.

        What the rule has no threshold for is not: its errors are no reason to change a threshold.
        """
        if choice_index or decision.basis == "uncovered":
            return
        watch, route = self.watch, trace.route
        audit = watch.audit(query.query_id, route.label if route else None)
        if audit is not None:
            self._shadows.submit(
                f"audit of query {query.query_id}", lambda: self._run(watch, audit, query, route, text)
            )

    async def _run(self, watch: Watch, audit: Audit, query: Query, route: RouteScore | None, small_answer: str) -> None:
        trace = shadow_trace(query, "audit", route)
        score: float | None = None
        try:
            large_answer = await text_of(self._large.answer(trace.query, trace, None, 0))
            score = await scored(self._scorer, query, small_answer, large_answer)
            watch.audited(audit, wrong=None if score is None else score < watch.settings.agree_at)
        finally:
            reason = "audit: not scored" if score is None else f"audit: score {score:.3f}"
            self._report(ShadowReport("audit", shadow_account(trace, reason), score, None))
