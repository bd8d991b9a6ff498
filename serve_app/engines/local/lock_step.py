"""Calls that are answered in lock step: what holds for all members alike. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serve_app.engine.request import Ensemble, Request
from serve_app.engines.sampling import Sampling


def common_sampling(members: Sequence[Sampling]) -> Sampling:
    """The first member's, up to any member's stop string: all get the same text, so all end at the same place."""
    return replace(members[0], stop=tuple(dict.fromkeys(stop for member in members for stop in member.stop)))


def in_lock_step(requests: Sequence[Request], weights: Sequence[float]) -> list[Request]:
    """Members of one ensemble; `weights` as in core.Group. They end together: by length where the first context is
    full, by deadline at the earliest, and their random streams begin with the first one's seed."""
    first = requests[0]
    ensemble = Ensemble(first.request_id, len(requests))
    max_tokens = min(request.max_tokens for request in requests)
    deadline_s = min((one.deadline_s for one in requests if one.deadline_s is not None), default=None)
    return [
        replace(
            request,
            max_tokens=max_tokens,
            seed=first.seed,
            top_logprobs=first.top_logprobs,
            deadline_s=deadline_s,
            ensemble=ensemble,
            weight=weight,
        )
        for request, weight in zip(requests, weights or (1.0,) * len(requests), strict=True)
    ]
