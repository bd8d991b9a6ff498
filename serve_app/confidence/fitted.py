"""The rule of a fitted policy: learned acceptance, thresholds with a guarantee, early decisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serve_app.confidence.evidence import Evidence
from serve_app.confidence.features import features
from serve_app.confidence.model import AcceptanceModel, FloatArray
from serve_app.confidence.policy import CascadePolicy, RoutePolicy
from serve_app.confidence.rule import Decision, decide_by_gain
from serve_app.confidence.signals import mean_probability
from serve_app.confidence.stages import lowered, raised
from serve_app.config.cascade import CascadeSettings
from serve_app.core import ConfigError, RouteScore


class FittedRule:
    """Judges with the models and thresholds of a policy. Immutable; a stricter rule is a new one."""

    def __init__(self, policy: CascadePolicy, settings: CascadeSettings) -> None:
        """Raises ConfigError where the settings ask for other bounds on the gain than the policy was fitted with."""
        self.policy = policy
        self._settings = settings
        for key in ("skip_small_above", "keep_small_below"):
            asked, fitted = getattr(settings, key), getattr(policy, key)
            if asked is not None and asked != fitted:
                known = "none" if fitted is None else f"{fitted:g}"
                raise ConfigError(
                    f"cascade.{key} is {asked:g} and the policy was fitted with {known}, so that its guarantee would "
                    f"not hold: leave the key out, or fit again with --{key.replace('_', '-')} {asked:g}."
                )

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """As fitted; and the first token where answers are kept for their gain: it tells the adapter's version."""
        fitted = self.policy.checkpoints
        return fitted if self.policy.keep_small_below is None or 1 in fitted else (1, *fitted)

    def before(self, route: RouteScore | None) -> Decision | None:
        """No small attempt where it would be escalated anyway or the gain is too high.

        A low gain keeps the small answer at the first token and not here: which adapter version answers, and so whether
        it can be trusted at all, is not known yet.
        """
        label = route.label if route is not None else None
        found = self.policy.of_route(label)
        if not found:
            return self._unfitted(f"the policy knows no route {label}", 0.0)
        if all(policy.threshold is None for policy in found):
            return _refused(found[0])
        return decide_by_gain(route, self.policy.skip_small_above, None)

    def judge(self, evidence: Evidence, adapter_version: str | None) -> Decision | None:
        """Accept early, escalate early, hold on, or decide at the end (stages.py)."""
        num_tokens = len(evidence.tokens)
        if not evidence.finished and num_tokens not in self.checkpoints:
            return None
        label = evidence.route.label if evidence.route is not None else None
        policy = self.policy.find(label, adapter_version)
        if policy is None:
            why = f"the policy knows no route {label} with adapter version {adapter_version}"
            return self._unfitted(why, mean_probability(evidence.tokens))
        if policy.threshold is None:
            return _refused(policy)
        gained = decide_by_gain(evidence.route, self.policy.skip_small_above, self.policy.keep_small_below)
        if gained is not None:
            return gained
        if evidence.finished:
            probability = _probability(policy.final, evidence)
            return _decision(bool(probability > policy.threshold), probability, policy.threshold, evidence)
        return self._early(evidence, policy, policy.threshold)

    def tightened(self, route: str | None) -> FittedRule:
        """The next stricter threshold for all versions of a route; after the strictest, all is escalated."""
        return self._changed(route, RoutePolicy.tightened)

    def escalating(self, route: str | None) -> FittedRule:
        """Escalate all of a route."""
        return self._changed(route, RoutePolicy.escalating)

    def _changed(self, route: str | None, change: Callable[[RoutePolicy], RoutePolicy]) -> FittedRule:
        return FittedRule(self.policy.changed(route, change), self._settings)

    def _early(self, evidence: Evidence, policy: RoutePolicy, threshold: float) -> Decision | None:
        stages = dict(zip(self.policy.checkpoints, policy.early, strict=True))
        stage = stages.get(len(evidence.tokens))
        if stage is None or stage.model is None:
            return None
        probability = _probability(stage.model, evidence)
        if lowered(probability, stage.accept_margin) > threshold:
            return _decision(True, probability, threshold, evidence)
        if not raised(probability, stage.escalate_margin) > threshold:
            return _decision(False, probability, threshold, evidence)
        return None

    def _unfitted(self, why: str, confidence: float) -> Decision:
        accept = self._settings.unfitted == "accept"
        verb = "accepted" if accept else "escalated"
        return Decision(accept, confidence, f"{why}: {verb}, as cascade.unfitted says", "uncovered")


def _refused(policy: RoutePolicy) -> Decision:
    return Decision(False, 0.0, f"no threshold of {policy.name} keeps its target: all is escalated", "uncovered")


def _probability(model: AcceptanceModel, evidence: Evidence) -> FloatArray:
    return model.probability(np.array(features(evidence)))


def _decision(accept: bool, probability: FloatArray, threshold: float, evidence: Evidence) -> Decision:
    when = "all" if evidence.finished else "the first"
    verb = "accepted above" if accept else "escalated, threshold"
    reason = f"acceptance {float(probability):.3f} over {when} {len(evidence.tokens)} tokens: {verb} {threshold:.3f}"
    return Decision(accept, float(probability), reason)
