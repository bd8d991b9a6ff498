"""A cascade in production: its rule, the watch over it, the shadows, and what follows when a guarantee is broken.

settings ──▶ rule ──▶ Cascade ──decisions, accepted answers──▶ Auditor ──audits──▶ Watch
              ▲                                                                     │
              └──────────────── tighten | escalate all ◀──── breach ────────────────┘
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from serve_app.confidence import configured_rule
from serve_app.confidence.fitted import FittedRule
from serve_app.confidence.policy import CascadePolicy
from serve_app.confidence.rule import ThresholdRule
from serve_app.confidence.watch import Action, RouteReport, Watch
from serve_app.config import CascadeSettings
from serve_app.patterns.answerers import Answerer, Node, Single
from serve_app.patterns.cascade import Cascade
from serve_app.patterns.shadow import Auditor, Mirror, Mirrored, OnShadow, Scorer, ShadowReport, Shadows

_LOG = logging.getLogger(__name__)

ScorerOf = Callable[[str], Scorer]
"""Name -> what compares two answers. Raises ConfigError for a name that there is not."""


class CascadeControl:
    """Builds the cascade from settings and keeps it to its promise. For one event loop."""

    def __init__(
        self, small: Node, large: Node, settings: CascadeSettings, scorer_of: ScorerOf, on_shadow: OnShadow
    ) -> None:
        """Raises ConfigError where the settings name a policy or a scorer that cannot be used."""
        self._small, self._large = Single(small), Single(large)
        self._scorer_of, self._on_shadow = scorer_of, on_shadow
        self._scorer = scorer_of(settings.watch.scorer)
        rule = configured_rule(settings)
        self._settings, self._fitted = settings, _policy_of(rule)
        self._shadows = Shadows(settings.watch.max_concurrent, settings.watch.timeout_s)
        self._auditor = Auditor(_watch(settings, self._fitted), self._shadows, large, self._score, self._told)
        self._cascade = Cascade(small, large, rule, self._auditor)
        self._mirror = Mirror(settings.watch.mirror_share, self._shadows, self._cascade, self._score, self._told)

    @property
    def cascade(self) -> Answerer:
        """Small first, whatever else is configured."""
        return self._cascade

    @property
    def answerer(self) -> Answerer:
        """What stands behind `auto`: the cascade; in shadow mode the large model; or the small model alone."""
        if not self._settings.enabled:
            return self._small
        if self._settings.watch.mirror_share > 0:
            return Mirrored(self._large, self._mirror)
        return self._cascade

    def reconfigure(self, settings: CascadeSettings) -> None:
        """Take new settings; queries in flight keep the rule they began with.

        A policy that is the same as before keeps its evidence, and the threshold that a breach has tightened. Raises
        ConfigError, and changes nothing, where a policy or a scorer cannot be used.
        """
        rule = configured_rule(settings)
        scorer = self._scorer_of(settings.watch.scorer)
        policy, alpha = _policy_of(rule), settings.watch.alpha
        if policy is not None and policy == self._fitted and alpha == self._settings.watch.alpha:
            assert isinstance(self._cascade.rule, FittedRule)
            rule = FittedRule(self._cascade.rule.policy, settings)
            self._auditor.watch.settings = settings.watch
        else:
            self._auditor.watch = _watch(settings, policy)
        self._settings, self._fitted, self._scorer, self._cascade.rule = settings, policy, scorer, rule
        self._mirror.share = settings.watch.mirror_share
        self._shadows.max_concurrent = settings.watch.max_concurrent
        self._shadows.timeout_s = settings.watch.timeout_s

    def report(self) -> Mapping[str | None, RouteReport]:
        """The state of every route that has a target."""
        return self._auditor.watch.report()

    @property
    def shadows(self) -> Shadows:
        """The background work, for its counts."""
        return self._shadows

    async def close(self) -> None:
        """Give up the shadows under way; what they cost is reported first."""
        await self._shadows.close()

    async def _score(self, question: str, small_answer: str, large_answer: str) -> float | None:
        return await self._scorer(question, small_answer, large_answer)

    def _told(self, report: ShadowReport) -> None:
        self._on_shadow(report)  # first: whatever follows, it is billed
        for action in self._auditor.watch.actions():
            self._act(action)

    def _act(self, action: Action) -> None:
        _LOG.error("The cascade's guarantee is broken: %s; %s", action.reason, action.kind.replace("_", " "))
        rule = self._cascade.rule
        if action.kind == "alert" or not isinstance(rule, FittedRule):
            return
        if action.kind == "tighten":
            self._cascade.rule = rule.tightened(action.route)
            self._auditor.watch.tightened(action.route)
        else:
            self._cascade.rule = rule.escalating(action.route)


def _policy_of(rule: ThresholdRule | FittedRule) -> CascadePolicy | None:
    return rule.policy if isinstance(rule, FittedRule) else None


def _watch(settings: CascadeSettings, policy: CascadePolicy | None) -> Watch:
    """Over the routes of the policy that accept something and have a target. A plain threshold promises nothing.

    Of several adapter versions of a route the laxest target counts, which any mixture of them keeps, and the signals of
    the one with most labels.
    """
    alphas: dict[str | None, float] = {}
    references = {}
    routes = policy.routes if policy else ()
    for one in sorted(routes, key=lambda route: route.num_labels):
        alpha = settings.watch.alpha or one.alpha
        if one.threshold is not None and alpha is not None:
            alphas[one.route] = max(alpha, alphas.get(one.route, 0.0))
            references[one.route] = one.references
    return Watch(settings.watch, alphas, references)
