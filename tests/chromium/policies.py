"""A fitted policy for the routes of the showcase, and audits of it that came out well, badly and in between."""

from pathlib import Path

import numpy as np

from serve_app.confidence.evidence import Evidence
from serve_app.confidence.features import FEATURES
from serve_app.confidence.model import AcceptanceModel, Platt
from serve_app.confidence.policy import CascadePolicy, Provenance, RoutePolicy, write
from serve_app.confidence.rule import Decision
from serve_app.confidence.watch import CONFIDENCE, Audit, reference_of
from serve_app.core import RouteScore, TokenStat
from serve_app.patterns import CascadeControl

TARGETS = {"code": 0.1, "medical": 0.05, "legal": 0.05}
AUDITS = {"code": (182, 9), "medical": (304, 5), "legal": (214, 24)}
"""Route -> number of audits, how many of them found a wrong answer."""


def policy_file(folder: Path) -> Path:
    """Write the policy and return its path."""
    path = folder / "policy.json"
    column = FEATURES.index("mean_logprob")
    model = AcceptanceModel(
        features=(FEATURES[column],),
        mean=(0.0,),
        scale=(1.0,),
        coefficients=(1.0,),
        intercept=1.0,
        calibration=Platt(slope=1.0, offset=0.0),
    )
    routes = tuple(_route(name, alpha, model) for name, alpha in TARGETS.items())
    facts = Provenance(data_sha256="0" * 64, num_rows=450, seed=0, joint=False, right_from=0.5, headrace="test")
    write(CascadePolicy(decide="full", checkpoints=(), target="right", routes=routes, provenance=facts), path)
    return path


def _route(name: str, alpha: float, model: AcceptanceModel) -> RoutePolicy:
    return RoutePolicy(
        route=name,
        adapter_version=None,
        early=(),
        final=model,
        threshold=0.6,
        thresholds=(0.8, 0.6),
        alpha=alpha,
        delta=0.1,
        num_labels=150,
        model_labels=150,
        accepted_share=0.7,
        observed_risk=0.01,
        risk_bound=alpha,
        needed_labels=None,
        references={CONFIDENCE: reference_of(np.linspace(0.6, 1.0, 200))} if name == "code" else {},
    )


def audited(control: CascadeControl) -> None:
    """Tell the watch what its audits found: `legal` breaks its target, the others keep it, and `code` has drifted."""
    watch = control._auditor.watch
    for route, (number, wrong) in AUDITS.items():
        for index in range(number):
            watch.audited(Audit(route, 0), index * wrong // number != (index + 1) * wrong // number)
        watch.audited(Audit(route, 0), None)
    evidence = Evidence((TokenStat(1, "a", -0.1, 0.2, 3.0),), True, RouteScore("code", 0.9, {"code": 0.9}))
    for _ in range(200):
        watch.decided(evidence, Decision(True, 0.61, "a confidence that was rare"))
