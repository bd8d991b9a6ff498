"""How sure is the small model? Signals over tokens, and the rule that turns them into a decision.

    evidence, signals, features     what a rule may look at, and the numbers that it sees
    rule, fitted, configured        the decision: the protocol, the plain rule and the fitted one, and which is in force
    model, stages, acceptance       P(acceptable | features), judged early and at the end
    policy, stored                  the fitted file, and how such files are read and written
    risk, budget, metrics           for who fits one: thresholds with a guarantee or for a price, and figures
    gain, surface                   the pre-router: what the large model would gain, from the query alone
    watch                           is the guarantee still kept?

Knows no engine, no HTTP and no prices, and does not train: `training.cascade` and `training.gain` do.
"""

from serve_app.confidence.acceptance import acceptance
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
    "acceptance",
    "configured_rule",
]
