"""How sure is the small model? Signals over tokens, and the rule that turns them into a decision."""

from serve_app.confidence.configured import configured_rule
from serve_app.confidence.evidence import Evidence
from serve_app.confidence.fitted import FittedRule
from serve_app.confidence.policy import CascadePolicy
from serve_app.confidence.rule import AcceptanceRule, Decision, ThresholdRule
from serve_app.confidence.signals import SIGNALS

__all__ = [
    "SIGNALS",
    "AcceptanceRule",
    "CascadePolicy",
    "Decision",
    "Evidence",
    "FittedRule",
    "ThresholdRule",
    "configured_rule",
]
