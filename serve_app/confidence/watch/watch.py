"""The watch over a deployed policy: per route, audits in, drift in, a state and actions out.

Epochs. A route starts in epoch 0. When its threshold is tightened, a new epoch starts: the answers accepted from now on
are others, so "their risk is at most alpha" is a new hypothesis, and it is tested from nothing with new audits. The
threshold was chosen from older audits only, and the new test is valid given all of them. Epoch k may raise a false
alarm with probability delta / 2^(k+1), so however many epochs follow, all together stay within delta. An audit belongs
to the epoch in which its answer was accepted; one that ends in a later epoch says nothing of that one and is left out.
(An answer that was being written while the threshold changed counts to the new epoch; at a share of 1 % hardly any is.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serve_app.confidence.evidence import Evidence
from serve_app.confidence.features import FEATURES, features
from serve_app.confidence.rule import Decision
from serve_app.confidence.watch.drift import Drift, SignalWindow
from serve_app.confidence.watch.reference import Reference
from serve_app.confidence.watch.sampling import chosen
from serve_app.confidence.watch.sequential import RiskTest, risk_interval
from serve_app.config.watch import BreachAction, WatchSettings
from serve_app.core import ConfigError

State = Literal["ok", "drifting", "breached"]
CONFIDENCE = "confidence"
"""Name of the reference that is compared with `Decision.confidence`; the other names are of FEATURES."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Leave to audit one accepted answer; to be handed back with the result."""

    route: str | None
    """None: no router saw the query."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Action:
    """What has to be done about a breach."""

    kind: BreachAction
    route: str | None
    reason: str
    """One line for people."""


@dataclass(frozen=True, slots=True)
class RouteReport:
    """All that the watch knows of one route."""

    state: State
    alpha: float
    epoch: int
    """How often the threshold was tightened."""
    num_audited: int
    """In this epoch, like all that follows."""
    num_wrong: int
    num_not_scored: int
    """Audits beside `num_audited` that the scorer could not judge: many of them, and the others are a biased sample."""
    num_stale: int
    """Audits beside `num_audited` that ended in this epoch and whose answer was accepted in an earlier one."""
    log_e_value: float
    """Evidence that the risk is above alpha. Replicas audit different queries: the sum of their values is the evidence
    of them all, as long as they are in the same epoch."""
    log_alarm: float
    """The `log_e_value` of a breach."""
    risk_bounds: tuple[float, float]
    """Hold the risk at all times with probability 1 - delta, if it is constant."""
    drift: Mapping[str, Drift]
    """By signal."""


class _Route:
    """The test and the windows of one route."""

    def __init__(self, alpha: float, references: Mapping[str, Reference], settings: WatchSettings) -> None:
        self.alpha, self._references = alpha, references
        self._begin(0, settings)

    def next_epoch(self, settings: WatchSettings) -> None:
        """Forget what was seen under the old threshold."""
        self._begin(self.epoch + 1, settings)

    def note(self, evidence: Evidence, decision: Decision) -> None:
        """Put the decision's signals into the windows."""
        if self._windows:
            seen = dict(zip(FEATURES, features(evidence), strict=True)) | {CONFIDENCE: decision.confidence}
            for name, window in self._windows.items():
                window.add(seen[name])

    def drift(self) -> dict[str, Drift]:
        """By signal."""
        return {name: window.drift() for name, window in self._windows.items()}

    def _begin(self, epoch: int, settings: WatchSettings) -> None:
        self.epoch = epoch
        self.num_not_scored = self.num_stale = 0
        self.test = RiskTest(self.alpha, settings.delta / 2 ** (epoch + 1))
        self._windows = {name: SignalWindow(one, settings.window) for name, one in self._references.items()}


class Watch:
    """Watches the routes that have a target; of others it takes no notice. For one event loop or thread."""

    def __init__(
        self,
        settings: WatchSettings,
        alphas: Mapping[str | None, float],
        references: Mapping[str | None, Mapping[str, Reference]] | None = None,
    ) -> None:
        """`alphas`: route -> highest tolerable share of accepted answers that the audit calls wrong; route None is the
        queries that no router saw. `references`: route -> signal -> what it looked like when the policy was fitted.

        Raises ConfigError for an alpha that is not strictly between 0 and 1, and for an unknown signal.
        """
        references = references or {}
        for name in {name for one in references.values() for name in one} - {CONFIDENCE, *FEATURES}:
            known = ", ".join((CONFIDENCE, *FEATURES))
            raise ConfigError(f"The policy has a reference for {name!r}, which is no signal; it may have: {known}.")
        self.settings = settings
        """May be replaced while queries run; `delta` and `window` hold from a route's next epoch."""
        self._routes = {route: _Route(alpha, references.get(route, {}), settings) for route, alpha in alphas.items()}
        self._pending: list[Action] = []

    def decided(self, evidence: Evidence, decision: Decision) -> None:
        """Take note of one decision of the rule, accepted or not, and of what it was made from.

        The references are of drafts that were judged, so a decision that did not rest on the draft is left out.
        """
        watched = self._routes.get(evidence.route.label if evidence.route else None)
        if watched is not None and decision.basis == "answer":
            watched.note(evidence, decision)

    def audit(self, query_id: str, route: str | None) -> Audit | None:
        """Leave to audit the answer of this query, which was accepted just now; None: not chosen, or no target.

        Not to be asked of an answer that was accepted uncovered: its route's threshold did not let it pass.
        """
        watched = self._routes.get(route)
        if watched is None or not chosen(query_id, self.settings.audit_share, "audit"):
            return None
        return Audit(route, watched.epoch)

    def audited(self, audit: Audit, wrong: bool | None) -> None:
        """Take the result of an audit; None: it could not be judged, and is only counted."""
        watched = self._routes[audit.route]
        if audit.epoch != watched.epoch:
            watched.num_stale += 1
            return
        if wrong is None:
            watched.num_not_scored += 1
            return
        had_breached = watched.test.breached
        watched.test.add(float(wrong))
        if watched.test.breached and not had_breached:
            self._pending.append(self._action(audit.route, watched))

    def actions(self) -> tuple[Action, ...]:
        """What has to be done since the last call; each breach is told once."""
        actions, self._pending = tuple(self._pending), []
        return actions

    def breaches(self) -> tuple[Action, ...]:
        """What the settings in force would do about the routes that are breached now, told before or not."""
        return tuple(self._action(route, watched) for route, watched in self._routes.items() if watched.test.breached)

    def tightened(self, route: str | None) -> None:
        """The route has a stricter threshold from now on: begin its next epoch. KeyError for one without a target."""
        self._routes[route].next_epoch(self.settings)

    def report(self) -> dict[str | None, RouteReport]:
        """The state of every route that has a target."""
        return {route: self._report(watched) for route, watched in self._routes.items()}

    def _action(self, route: str | None, watched: _Route) -> Action:
        return Action(self.settings.on_breach, route, _breach_reason(route, watched))

    def _report(self, watched: _Route) -> RouteReport:
        test, drift = watched.test, watched.drift()
        drifting = any(one.beyond(self.settings.psi_alert) for one in drift.values())
        return RouteReport(
            state="breached" if test.breached else "drifting" if drifting else "ok",
            alpha=watched.alpha,
            epoch=watched.epoch,
            num_audited=test.num_audited,
            num_wrong=round(test.total_loss),
            num_not_scored=watched.num_not_scored,
            num_stale=watched.num_stale,
            log_e_value=test.log_e_value,
            log_alarm=test.log_alarm,
            risk_bounds=risk_interval(test.num_audited, test.total_loss, self.settings.delta),
            drift=drift,
        )


def _breach_reason(route: str | None, watched: _Route) -> str:
    test = watched.test
    return (
        f"route {route or 'none'}: {round(test.total_loss)} of {test.num_audited} audited answers were accepted but "
        f"wrong, too many for a risk of at most {watched.alpha:g} (false with probability at most {test.delta:g})"
    )
