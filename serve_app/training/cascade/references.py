"""What signals looked like on the labelled rows when their fate was decided: for the watch over drift."""

from __future__ import annotations

import numpy as np

from serve_app.confidence.features import FEATURES
from serve_app.confidence.policy import RoutePolicy
from serve_app.confidence.stages import deciding_stage
from serve_app.confidence.watch import reference_of
from serve_app.confidence.watch.watch import CONFIDENCE
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.scores import kept, probabilities_of, skipped
from serve_app.training.cascade.table import Table

WATCHED = ("mean_logprob", "log_prompt_tokens", "route_probability")
"""Features beside the confidence: how sure the model is, how long queries are, how clear their domain is."""


def with_references(policy: RoutePolicy, table: Table, options: FitOptions) -> RoutePolicy:
    """The policy with percentiles of the watched signals; as it is where it accepts nothing or there are no rows.

    Rows that the gain alone decides are left out, as the watch leaves them out: no model looked at their answers.
    """
    decided = skipped(table.gain, options.skip_small_above) | kept(table.gain, options.keep_small_below)
    table = table.take(~decided)
    if policy.threshold is None or len(table) == 0:
        return policy
    probabilities = probabilities_of(policy, table)
    stage = deciding_stage(probabilities, policy.margins, policy.threshold)
    rows = np.arange(len(table))
    features = table.features[rows, stage]
    found = {CONFIDENCE: reference_of(probabilities[rows, stage])}
    found |= {name: reference_of(features[:, FEATURES.index(name)]) for name in WATCHED}
    return RoutePolicy(**{**dict(policy), "references": found})
