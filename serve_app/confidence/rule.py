"""The decision: is the small answer good enough to send?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serve_app.confidence.signals import SIGNALS
from serve_app.config.cascade import CascadeSettings
from serve_app.core import TokenStat


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule says of one small answer."""

    accept: bool
    confidence: float
    """In [0, 1]; comparable between queries of one route only."""
    reason: str
    """One line for people."""


class AcceptanceRule(Protocol):
    """Judges a small answer from its tokens. Pure: the same tokens and route give the same decision."""

    def tokens_needed(self) -> int | None:
        """How many tokens are judged; None means the finished answer."""
        ...

    def decide(self, tokens: Sequence[TokenStat], route: str | None) -> Decision:
        """Judge exactly these tokens: the first `tokens_needed()`, or the whole answer where it is shorter."""
        ...


class ThresholdRule:
    """A named signal against the route's threshold. The learned acceptance model takes this place later."""

    def __init__(self, settings: CascadeSettings) -> None:
        self._settings = settings

    def tokens_needed(self) -> int | None:
        """The configured prefix, or None with `decide: full`."""
        return self._settings.prefix_tokens if self._settings.decide == "prefix" else None

    def decide(self, tokens: Sequence[TokenStat], route: str | None) -> Decision:
        """Accept when the signal is at or above the threshold."""
        confidence = SIGNALS[self._settings.signal](tokens)
        threshold = self._settings.threshold_for(route)
        accept = confidence >= threshold
        relation = ">=" if accept else "<"
        reason = f"{self._settings.signal} {confidence:.3f} {relation} {threshold:g} over {len(tokens)} tokens"
        return Decision(accept, confidence, reason)
