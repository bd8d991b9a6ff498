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
from serve_app.confidence.rule import AcceptanceRule
from serve_app.confidence.watch import Action, RouteReport, Watch
from serve_app.config import CascadeSettings
from serve_app.config.watch import WatchSettings
from serve_app.patterns.answerers import Answerer, Node, Single
from serve_app.patterns.cascade import Cascade, WhenFailed
from serve_app.patterns.guard import Guard, Unguarded
from serve_app.patterns.shadow import Auditor, Drafter, Mirror, Mirrored, OnShadow, Scorer, ShadowReport, Shadows

_LOG = logging.getLogger(__name__)

ScorerOf = Callable[[WatchSettings], Scorer]
"""`scorer` and its options -> what compares two answers. Raises ConfigError where there is none."""


class CascadeControl:
    """Builds the cascade from settings and keeps it to its promise. For one event loop."""

    def __init__(
        self,
        small: Node,
        large: Node,
        settings: CascadeSettings,
        scorer_of: ScorerOf,
        on_shadow: OnShadow,
        guard: Guard | None = None,
    ) -> None:
        """Raises ConfigError where the settings name a policy or a scorer that cannot be used."""
        self._small, self._large = Single(small), Single(large)
        self._scorer_of, self._on_shadow = scorer_of, on_shadow
        self.guard: Guard = guard or Unguarded()
        self._scorer = scorer_of(settings.watch)
        rule = configured_rule(settings)
        self._settings, self._fitted = settings, _policy_of(rule)
        self._shadows = Shadows(settings.watch.max_concurrent, settings.watch.timeout_s)
        self._auditor = Auditor(_watch(settings, self._fitted), self._shadows, large, self._score, self._told)
        self._cascade = Cascade(small, large, rule, self._auditor, self.guard, _when_failed(settings))
        self._mirror = Mirror(settings.watch.mirror_share, self._shadows, self._cascade, self._score, self._told)

    @property
    def cascade(self) -> Answerer:
        """Small first, whatever else is configured."""
        return self._cascade

    @property
    def policy(self) -> CascadePolicy | None:
        """The fitted policy in force; None: a plain threshold decides."""
        return _policy_of(self._cascade.rule)

    @property
    def when_failed(self) -> WhenFailed:
        """What is done just now when a model fails."""
        return self._cascade.when_failed

    @property
    def drafter(self) -> Drafter:
        """The small half of the cascade, for shadows."""
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

        A policy that is the same as before keeps the thresholds that breaches have tightened, and its evidence too
        unless the target of the watch is another. A new `on_breach` is done to the routes that are breached already.
        Raises ConfigError, and changes nothing, where a policy or a scorer cannot be used.
        """
        before, watch = self._settings.watch, self._auditor.watch
        rule = configured_rule(settings)
        scorer = self._scorer_of(settings.watch)
        policy = _policy_of(rule)
        is_same = policy is not None and policy == self._fitted
        if is_same and isinstance(self._cascade.rule, FittedRule):
            rule = FittedRule(self._cascade.rule.policy, settings)
        if not is_same or settings.watch.alpha != before.alpha:
            watch = _watch(settings, _policy_of(rule))
        watch.settings, self._auditor.watch = settings.watch, watch
        self._settings, self._fitted, self._scorer, self._cascade.rule = settings, policy, scorer, rule
        self._cascade.when_failed = _when_failed(settings)
        self._mirror.share = settings.watch.mirror_share
        self._shadows.max_concurrent = settings.watch.max_concurrent
        self._shadows.timeout_s = settings.watch.timeout_s
        if settings.watch.on_breach != before.on_breach:
            for action in watch.breaches():
                self._act(action)

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
        stricter = rule.tightened(action.route) if action.kind == "tighten" else rule.escalating(action.route)
        if stricter.policy == rule.policy:  # it accepts nothing of the route any more: nothing new to test
            return
        self._cascade.rule = stricter
        if action.kind == "tighten":
            self._auditor.watch.tightened(action.route)


def _when_failed(settings: CascadeSettings) -> WhenFailed:
    return WhenFailed(settings.when_small_fails, settings.when_large_fails)


def _policy_of(rule: AcceptanceRule) -> CascadePolicy | None:
    return rule.policy if isinstance(rule, FittedRule) else None


def _watch(settings: CascadeSettings, policy: CascadePolicy | None) -> Watch:
    """Over the routes of the policy that accept something and have a target. A plain threshold promises nothing.

    Of several adapter versions of a route the laxest target counts, which any mixture of them keeps, and the signals of
    the one with most labels.
    """
    alphas: dict[str | None, float] = {}
    references = {}
    held = policy.held(settings.watch.alpha) if policy else ()
    for one, alpha in sorted(held, key=lambda pair: pair[0].num_labels):
        alphas[one.route] = max(alpha, alphas.get(one.route, 0.0))
        references[one.route] = one.references
    return Watch(settings.watch, alphas, references)
