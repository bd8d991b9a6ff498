"""One simulated run: a trace, a policy, two engine nodes with a cascade between them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.scaling.nodes import Job, NodeShape, SimNode
from bench.scaling.policies import Policy
from bench.scaling.traces import Trace
from serve_app.config.scaling import ColdPolicy
from serve_app.scaling import EscalationMeter, WarmUp, while_cold

PREFIX_TOKENS = 24
"""Of the small answer, held back until the rule decides."""
MakePolicy = Callable[[Mapping[str, SimNode], Callable[[], float], EscalationMeter], Policy]


@dataclass(frozen=True)
class Outcome:
    """Of one run."""

    queries: int
    attainment: float
    """Share of queries whose first token was shown within the SLO; those never answered count against it."""
    p50_s: float
    p99_s: float
    gpu_hours: float
    specialists_gpu_hours: float
    fallback_gpu_hours: float
    scalings: int
    """Changes of a target."""
    accepted_cold: int
    """Queries that got the small answer because the large model was cold."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Run:
    """The event loop. Times are seconds since the trace's start."""

    def __init__(
        self,
        trace: Trace,
        shapes: Mapping[str, NodeShape],
        slo_s: float,
        cold: ColdPolicy = "wait",
        patience_s: float = 0,
    ) -> None:
        self._trace, self._slo_s, self._cold, self._patience_s = trace, slo_s, cold, patience_s
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._first_s = np.full(len(trace.at_s), np.inf)
        self.nodes = {name: SimNode(shape, self.clock, self.schedule) for name, shape in shapes.items()}
        self.gateway = EscalationMeter(clock=self.clock)
        self._warm_up = WarmUp(shapes["Fallback"].start_s)
        self._scalings = self._accepted_cold = 0

    def clock(self) -> float:
        return self.now_s

    def schedule(self, at_s: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), action, arguments))

    def play(self, make_policy: MakePolicy) -> Outcome:
        """Until the trace has ended and two more minutes, for what is still in flight; GPU time counts to the end."""
        trace, policy = self._trace, make_policy(self.nodes, self.clock, self.gateway)
        end_s = trace.duration_s + 120
        for second in range(int(end_s)):
            self.schedule(float(second), self._tick, policy)
        for query, at_s in enumerate(trace.at_s):
            self.schedule(float(at_s), self._arrive, query)
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        self.now_s = end_s
        return self._outcome(end_s)

    def _tick(self, policy: Policy) -> None:
        for name, target in policy(self.now_s).items():
            if target != self.nodes[name].target:
                self._scalings += 1
                self.nodes[name].scale(target)
        fallback = self.nodes["Fallback"]
        self._warm_up = self._warm_up.seen(fallback.running, fallback.target, self.now_s)

    def _arrive(self, query: int) -> None:
        self.gateway.arrived()
        trace = self._trace
        answer, prompt = int(trace.answer_tokens[query]), int(trace.prompt_tokens[query])
        prefix = min(PREFIX_TOKENS, answer)
        if trace.escalates[query]:
            job = Job(query, prefix, prefix, prompt, None, lambda now_s: self._escalate(query))
        else:
            job = Job(query, prefix, answer, prompt, lambda now_s: self._shown(query), lambda now_s: self._ended(False))
        self.nodes["Specialists"].submit(job)

    def _escalate(self, query: int) -> None:
        fallback, trace = self.nodes["Fallback"], self._trace
        if fallback.running == 0 and self._cold != "wait":
            choice = while_cold(self._cold, self._warm_up.remaining_s(self.now_s), self._patience_s)
            if choice == "accept_small":
                self._accepted_cold += 1
                self._shown(query)
                self._ended(True)
                return
        answer, prompt = int(trace.answer_tokens[query]), int(trace.prompt_tokens[query])
        fallback.submit(
            Job(query, 1, answer, prompt, lambda now_s: self._shown(query), lambda now_s: self._ended(True))
        )

    def _shown(self, query: int) -> None:
        self._first_s[query] = self.now_s - self._trace.at_s[query]

    def _ended(self, escalated: bool) -> None:
        self.gateway.decided(escalated)

    def _outcome(self, end_s: float) -> Outcome:
        hours = {name: node.finish(end_s) * node.shape.num_gpus / 3600 for name, node in self.nodes.items()}
        waits = np.minimum(self._first_s, 1e6)
        return Outcome(
            len(waits),
            float(np.mean(waits <= self._slo_s)),
            float(np.percentile(waits, 50)),
            float(np.percentile(waits, 99)),
            sum(hours.values()),
            hours["Specialists"],
            hours["Fallback"],
            self._scalings,
            self._accepted_cold,
        )
