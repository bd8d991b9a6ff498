"""Is a canary as good as the live version? Evidence from gateways, a rule with stated errors, and what follows.

    gateway: queries of both versions ──▶ Gatherer ──totals──▶ ledger: CanaryTrials ──rule──▶ promote | rollback
             shadows of canary queries ──▶    │

A trial is of one canary beside one live version of an adapter, from when it begins until either is replaced. Every
gateway adds up what it sees of a trial and sends its totals; one place, the ledger's replica, adds those up, asks the
rule, and changes the registry in the same transaction that closes the trial. Knows no engine, no HTTP and no Ray.
"""

from serve_app.canary.evidence import EvidenceRecord, EvidenceSink, Outcome, TrialEvidence
from serve_app.canary.gatherer import Gatherer
from serve_app.canary.rule import Finding, Verdict, verdict
from serve_app.canary.trials import CanaryTrials

__all__ = [
    "CanaryTrials",
    "EvidenceRecord",
    "EvidenceSink",
    "Finding",
    "Gatherer",
    "Outcome",
    "TrialEvidence",
    "Verdict",
    "verdict",
]
