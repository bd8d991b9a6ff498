"""Labelled attempts whose truth is known, and small policies made by hand."""

import numpy as np

from serve_app.confidence import Evidence
from serve_app.confidence.model import AcceptanceModel, Platt
from serve_app.confidence.policy import CascadePolicy, EarlyStage, Provenance, RoutePolicy
from serve_app.core import RouteScore, TokenStat
from serve_app.training.cascade import LabelledAttempt, TokenCounts


def tokens(*logprobs, entropy=0.1, margin=1.0):
    return tuple(TokenStat(index, "", logprob, entropy, margin) for index, logprob in enumerate(logprobs))


def route(label="legal", gain=None):
    return RouteScore(label, 0.9, {label: 0.9, "other": 0.1}, gain)


def evidence(*logprobs, finished=True, label="legal", gain=None):
    return Evidence(tokens(*logprobs), finished, None if label is None else route(label, gain), 12)


def model(slope=1.0, offset=0.0, feature="mean_logprob"):
    """P(acceptable) = sigmoid(slope * mean log-probability + offset)."""
    return AcceptanceModel(
        features=(feature,), mean=(0.0,), scale=(1.0,), coefficients=(slope,), intercept=offset,
        calibration=Platt(slope=1.0, offset=0.0),
    )  # fmt: skip


def early(**changes):
    return EarlyStage(**{"model": model(offset=2.0), "accept_margin": 1.0, "escalate_margin": 1.0, **changes})


def route_policy(**changes):
    fields = {
        "route": "legal", "adapter_version": "v1", "early": (), "final": model(offset=2.0), "threshold": 0.8,
        "thresholds": (0.95, 0.9, 0.8), "alpha": 0.05, "delta": 0.1, "num_labels": 100, "model_labels": 50,
        "accepted_share": 0.5, "observed_risk": 0.02, "risk_bound": 0.04, "needed_labels": None,
    }  # fmt: skip
    return RoutePolicy(**{**fields, **changes})


def policy(*routes, checkpoints=(), **changes):
    provenance = Provenance(data_sha256="0" * 64, num_rows=150, seed=0, joint=False, right_from=0.5, headrace="0")
    fields = {
        "decide": "prefix" if checkpoints else "full",
        "checkpoints": checkpoints,
        "target": "right",
        "routes": routes or (route_policy(early=tuple(early() for _ in checkpoints)),),
        "provenance": provenance,
    }
    return CascadePolicy(**{**fields, **changes})


def attempts(num_rows, seed=0, routes=("legal", "code"), ease=2.0, version="v1", longest=40, **changes):
    """Answers whose tokens are the likelier the likelier they are right; every fifth answer is short."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(num_rows):
        truth = random.normal(ease, 2.0)
        length = int(random.integers(2, 8 if row % 5 == 0 else longest))
        chance = 1 / (1 + np.exp(-(0.7 * truth + random.normal(1, 1, length))))
        logprobs = np.log(np.clip(chance, 1e-6, 1 - 1e-9))
        stats = zip(logprobs, -logprobs, np.maximum(3 + logprobs, 0), random.integers(0, 99, length), strict=True)
        fields = {
            "id": f"{seed}/{row}",
            "route": routes[row % len(routes)],
            "route_probability": 0.9,
            "route_margin": 0.8,
            "gain": float(random.uniform(0, 1)),
            "adapter_version": version,
            "prompt_tokens": 30,
            "tokens": tuple((float(a), float(b), float(c), int(d)) for a, b, c, d in stats),
            "small_right": float(random.uniform() < 1 / (1 + np.exp(-truth))),
            "large_right": float(random.uniform() < 0.9),
            "small_usage": TokenCounts(prompt_tokens=30, completion_tokens=length),
            "large_usage": TokenCounts(prompt_tokens=28, completion_tokens=25),
        }
        found.append(LabelledAttempt(**{**fields, **changes}))
    return found
