"""The decision: is the small answer good enough to send? The protocol that a cascade asks, and the plain rule."""

from dataclasses import dataclass
from typing import Literal, Protocol

from serve_app.confidence.evidence import Evidence
from serve_app.confidence.signals import SIGNALS
from serve_app.config.cascade import CascadeSettings
from serve_app.core import RouteScore

Basis = Literal["answer", "gain", "uncovered"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule says of one small answer."""

    accept: bool
    """False: ask the large model."""
    confidence: float
    """In [0, 1]; comparable between queries of one route only."""
    reason: str
    """One line for people."""
    basis: Basis = "answer"
    """What it rests on: the draft, the pre-router's gain alone, or nothing, as the rule has no threshold for the query.
    What is uncovered says nothing of the rule, good or bad."""


class AcceptanceRule(Protocol):
    """Judges a small answer, while it is written and when it has ended. Pure: equal evidence, equal decision."""

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Token counts, ascending, at which a draft that has not ended is judged; empty: the finished answer only."""
        ...

    def before(self, route: RouteScore | None) -> Decision | None:
        """From the query alone: escalate without a small attempt, answer small and never escalate, or None: try it."""
        ...

    def judge(self, evidence: Evidence, adapter_version: str | None) -> Decision | None:
        """Judge the first k tokens, for each k of `checkpoints` that the draft passes, or all once it has ended.

        None: hold on to the next checkpoint or the end. Never None where `evidence.finished`.
        """
        ...


class ThresholdRule:
    """A named signal against the route's threshold: no labels needed, and no guarantee given."""

    def __init__(self, settings: CascadeSettings) -> None:
        self._settings = settings

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The configured prefix; none with `decide: full`."""
        return (self._settings.prefix_tokens,) if self._settings.decide == "prefix" else ()

    def before(self, route: RouteScore | None) -> Decision | None:
        """The gain of the large model against the two bounds of the settings."""
        return decide_by_gain(route, self._settings.skip_small_above, self._settings.keep_small_below)

    def judge(self, evidence: Evidence, adapter_version: str | None) -> Decision | None:
        """Accept when the signal is at or above the threshold. All adapter versions are judged alike."""
        if not evidence.finished and len(evidence.tokens) not in self.checkpoints:
            return None
        confidence = SIGNALS[self._settings.signal](evidence.tokens)
        threshold = self._settings.threshold_for(evidence.route.label if evidence.route else None)
        accept = confidence >= threshold
        relation = ">=" if accept else "<"
        reason = f"{self._settings.signal} {confidence:.3f} {relation} {threshold:g} over {len(evidence.tokens)} tokens"
        return Decision(accept, confidence, reason)


def decide_by_gain(route: RouteScore | None, skip_above: float | None, keep_below: float | None) -> Decision | None:
    """What the pre-router's gain alone decides; None where it is not known or lies between the bounds (or on one)."""
    gain = route.gain if route is not None else None
    if gain is None:
        return None
    if skip_above is not None and gain > skip_above:
        reason = f"gain of the large model {gain:.3f} > {skip_above:g}: no small attempt"
        return Decision(False, 1 - gain, reason, "gain")
    if keep_below is not None and gain < keep_below:
        reason = f"gain of the large model {gain:.3f} < {keep_below:g}: small answer kept"
        return Decision(True, 1 - gain, reason, "gain")
    return None
