"""A gateway's part in the trial of a canary: notes how queries of both versions end, and has some answered twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from serve_app.canary import EvidenceSink, Gatherer, Outcome
from serve_app.canary.gatherer import FollowedTrial
from serve_app.confidence.watch import chosen
from serve_app.config import Settings
from serve_app.config.watch import WatchSettings
from serve_app.core import Answer, Attempt, HeadraceError, Query
from serve_app.patterns import CascadeControl, Node, Trace
from serve_app.patterns.shadow import CanaryAnswer, CanaryShadow, OnShadow, Scorer, Shadows
from serve_app.patterns.versions import place
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_LOG = logging.getLogger(__name__)


class Canaries:
    """Called in each query's own task: nothing here waits or raises. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        gateway: str,
        sink: EvidenceSink,
        small: Node,
        large: Node | None,
        control: CascadeControl | None,
        scorer_of: Callable[[WatchSettings, str], Scorer],
        on_shadow: OnShadow,
    ) -> None:
        """`scorer_of`: a scorer and its options, and the section they are in. Raises ConfigError where it is unknown.

        `control`: of the cascade between `small` and `large`, where there is one.
        """
        self._settings, self._scorer_of = settings.canary, scorer_of
        self._score = self._scorer(settings.cascade.watch)
        self.gatherer = Gatherer(gateway, sink)
        """To follow the registry, and to send what is new."""
        self._shadows = Shadows(settings.canary.max_concurrent, settings.canary.timeout_s)
        drafter = control.drafter if control else None
        self._shadow = CanaryShadow(self._shadows, small, large, drafter, self._compare, on_shadow)

    def reconfigure(self, watch: WatchSettings) -> None:
        """Take the cascade's new scorer, where the canaries have none of their own. Raises ConfigError."""
        self._score = self._scorer(watch)

    def wants(self, query: Query, versions: Mapping[str, str]) -> bool:
        """Whether the text of the answer may be needed. `versions`: adapter -> version that would answer."""
        return any(trial.canary == versions[trial.name] for trial in self._trials(query, versions))

    def ended(self, query: Query, trace: Trace, account: Answer) -> None:
        """A query ended, however it ended; `account` is priced. One that its client left says nothing."""
        for trial in self.gatherer.trials_of(trace.versions):
            attempts = _attempts(account, trial)
            failed = any(one.outcome in ("failed", "timed_out") for one in attempts)
            if not attempts or not (failed or account.outcome in ("accepted", "failed", "timed_out")):
                continue
            outcome = Outcome(failed)
            if account.outcome == "accepted":
                outcome = Outcome(failed, account.cost_nusd, account.ms)
            self.gatherer.ended(trial, trace.versions[trial.name], place(trial.name, query), outcome)

    def answered(self, query: Query, trace: Trace, account: Answer, text: str) -> None:
        """A query was answered with this text: have it answered by the live version too, if it is one of the sample.

        Not where something failed or was lacking on the way: such an answer is another than configured. Of several
        choices none is compared: which of them the cascade left to the large model is not known of the query. Nor is an
        ensemble's answer, which is more than the canary's.
        """
        if account.outcome != "accepted" or trace.degradations:
            return
        for trial in self._trials(query, trace.versions):
            attempts = _attempts(account, trial)
            if trace.versions[trial.name] != trial.canary or not attempts:
                continue
            if any(one.choice_index or one.role == "member" for one in attempts) or not trial.is_new(
                place(trial.name, query), "answers"
            ):
                continue
            judged = account.confidence is not None
            answer = CanaryAnswer(
                trace.asked,
                trace.route,
                trial.name,
                trial.live,
                text,
                judged,
                account.escalated,
                trace.passage_score,
            )
            self._shadow.answered(answer, _Compared(self.gatherer, trial))

    def readings(self) -> Iterator[Reading]:
        """A `telemetry` source."""
        for end, number in self._shadows.ends.items():
            yield Reading(its.CANARY_SHADOWS, number, (end,))

    async def close(self) -> None:
        """Give up the comparisons under way, and try once more to send what was seen."""
        await self._shadows.close()
        try:
            await self.gatherer.send()
        except HeadraceError as error:
            _LOG.warning("Evidence about canaries is lost: %s", error)

    def _trials(self, query: Query, versions: Mapping[str, str]) -> tuple[FollowedTrial, ...]:
        """Those that the query belongs to, if it is in the sample."""
        trials = self.gatherer.trials_of(versions)
        return trials if trials and chosen(query.query_id, self._settings.share, "canary") else ()

    def _scorer(self, watch: WatchSettings) -> Scorer:
        own = self._settings
        if own.scorer is None:
            return self._scorer_of(watch, "cascade.watch")
        update = {"scorer": own.scorer, "scorer_options": own.scorer_options}
        return self._scorer_of(watch.model_copy(update=update), "canary")

    async def _compare(self, question: str, answer: str, reference: str) -> float | None:
        return await self._score(question, answer, reference)


class _Compared:
    """Brings the outcome of a comparison to its trial."""

    def __init__(self, gatherer: Gatherer, trial: FollowedTrial) -> None:
        self._gatherer, self._trial = gatherer, trial

    def scored(self, canary_score: float, live_score: float) -> None:
        """See `OnCompared`."""
        self._gatherer.compared(self._trial, canary_score, live_score)

    def agreed(self, score: float) -> None:
        """See `OnCompared`."""
        self._gatherer.agreed(self._trial, score)


def _attempts(account: Answer, trial: FollowedTrial) -> list[Attempt]:
    """Those of the trial's adapter; an answer from the response cache has none."""
    return [one for one in account.attempts if one.adapter == trial.name and one.node != "cache"]
