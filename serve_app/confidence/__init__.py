"""How sure is the small model? Signals over tokens, and the rule that turns them into a decision."""

from serve_app.confidence.rule import AcceptanceRule, Decision, ThresholdRule
from serve_app.confidence.signals import SIGNALS

__all__ = ["SIGNALS", "AcceptanceRule", "Decision", "ThresholdRule"]
