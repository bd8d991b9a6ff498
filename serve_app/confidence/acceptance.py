"""How likely an answer is right, for those who weigh answers rather than accept one."""

import numpy as np

from serve_app.confidence.evidence import Evidence
from serve_app.confidence.features import features
from serve_app.confidence.policy import CascadePolicy


def acceptance(policy: CascadePolicy, evidence: Evidence, adapter_version: str | None) -> float | None:
    """P(the finished answer of the small model with this adapter version is acceptable), in (0, 1).

    Where the policy has no model of the query's route, that of the route with most labels of the version counts: a
    member of an ensemble answers queries of routes that are not its own. None: no route has one.
    """
    found = policy.find(evidence.route.label if evidence.route else None, adapter_version)
    if found is None:
        of_version = [route for route in policy.routes if route.adapter_version == adapter_version]
        found = max(of_version, key=lambda route: route.num_labels, default=None)
    return None if found is None else float(found.final.probability(np.array(features(evidence))))
