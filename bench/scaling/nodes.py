"""Simulated replicas: a batch whose step takes longer the more rows it has, and a start that takes its time.

A step of n rows takes `step_s + row_s x n` and gives each row one token. Fitted to bench/results/engine.json (mixed
adapters, two cores: 57 / 372 / 721 tokens/s at 1 / 8 / 32 rows): 16.6 + 0.85 n ms. Prompt tokens count as 0.3 tokens.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from serve_app.scaling import LoadMeter
from serve_app.scaling.meter import PROMPT_WEIGHT, Ticket


@dataclass(frozen=True)
class NodeShape:
    """One node's machine and bounds."""

    name: str
    step_s: float
    row_s: float
    max_rows: int
    num_gpus: float
    start_s: float
    min_replicas: int
    max_replicas: int
    target_ongoing: float
    """What Ray's own policy aims at: half of the rows, as in the cluster profile."""

    @property
    def tokens_per_s(self) -> float:
        """Of one replica with a full batch."""
        return self.max_rows / (self.step_s + self.row_s * self.max_rows)


@dataclass(eq=False)
class Job:
    """One call of one node. Work is in tokens; `on_shown`: when so much of the answer is there."""

    query: int
    work_to_shown: float
    work: float
    prompt_tokens: int
    on_shown: Callable[[float], None] | None
    on_end: Callable[[float], None]
    ticket: Ticket | None = None
    replica: Replica | None = None


@dataclass(eq=False)
class Replica:
    """Processor sharing: all rows advance alike, so progress is one number."""

    born_s: float
    ready_s: float
    rows: int = 0
    progress: float = 0.0
    at_s: float = 0.0
    draining: bool = False
    version: int = 0
    due: list[tuple[float, int, str, Job]] = field(default_factory=list)

    def rate(self, shape: NodeShape) -> float:
        """Tokens a second of each row."""
        return 1 / (shape.step_s + shape.row_s * self.rows)

    def advance(self, shape: NodeShape, now_s: float) -> None:
        """Bring progress up to now."""
        if self.rows:
            self.progress += (now_s - self.at_s) * self.rate(shape)
        self.at_s = now_s


class SimNode:
    """A deployment: replicas, one queue in front of them, a meter. `schedule(at_s, action)` runs an action later."""

    def __init__(self, shape: NodeShape, clock: Callable[[], float], schedule: Callable[..., None]) -> None:
        self.shape, self._clock, self._schedule = shape, clock, schedule
        self.meter = LoadMeter(clock=clock)
        self.queue: deque[Job] = deque()
        self.replicas = [Replica(0.0, 0.0) for _ in range(shape.min_replicas)]
        self.target = shape.min_replicas
        self.replica_s = 0.0
        """Of replicas that are gone; `finish` adds the others."""
        self._order = itertools.count()

    @property
    def running(self) -> int:
        """Replicas that answer."""
        return sum(1 for one in self.replicas if not one.draining and one.ready_s <= self._clock())

    @property
    def ongoing(self) -> int:
        """Calls running and queued."""
        return len(self.queue) + sum(one.rows for one in self.replicas)

    def submit(self, job: Job) -> None:
        """A call arrives."""
        job.ticket = self.meter.begin()
        self.queue.append(job)
        self._fill()

    def scale(self, target: int) -> None:
        """Start replicas, or let them go: those that start first, then the emptiest, once they are empty."""
        self.target = target
        now_s = self._clock()
        live = [one for one in self.replicas if not one.draining]
        for _ in range(target - len(live)):
            one = Replica(now_s, now_s + self.shape.start_s)
            self.replicas.append(one)
            self._schedule(one.ready_s, self._fill)
        live.sort(key=lambda one: (one.ready_s <= now_s, one.rows, -one.born_s))
        for one in live[: max(0, len(live) - target)]:
            one.draining = True
            self._bury(one)

    def finish(self, now_s: float) -> float:
        """Replica-seconds held until now, starting and draining included."""
        return self.replica_s + sum(now_s - one.born_s for one in self.replicas)

    def _bury(self, one: Replica) -> None:
        if one.draining and one.rows == 0:
            self.replicas.remove(one)
            self.replica_s += self._clock() - one.born_s

    def _fill(self) -> None:
        now_s = self._clock()
        while self.queue:
            free = [
                one
                for one in self.replicas
                if not one.draining and one.ready_s <= now_s and one.rows < self.shape.max_rows
            ]
            if not free:
                return
            self._start(min(free, key=lambda one: one.rows), self.queue.popleft(), now_s)

    def _start(self, one: Replica, job: Job, now_s: float) -> None:
        one.advance(self.shape, now_s)
        prefill = PROMPT_WEIGHT * job.prompt_tokens
        for what, work in (("first", 1.0), ("shown", job.work_to_shown), ("end", job.work)):
            heapq.heappush(one.due, (one.progress + prefill + work, next(self._order), what, job))
        one.rows += 1
        self._plan(one, now_s)

    def _plan(self, one: Replica, now_s: float) -> None:
        one.version += 1
        if one.due:
            in_s = max(0.0, one.due[0][0] - one.progress) / one.rate(self.shape)
            self._schedule(now_s + in_s, self._step, one, one.version)

    def _step(self, one: Replica, version: int) -> None:
        if version != one.version:
            return
        now_s = self._clock()
        one.advance(self.shape, now_s)
        while one.due and one.due[0][0] <= one.progress + 1e-6:
            _, _, what, job = heapq.heappop(one.due)
            assert job.ticket is not None
            if what == "first":
                self.meter.first(job.ticket)
            elif what == "shown":
                if job.on_shown is not None:
                    job.on_shown(now_s)
            else:
                one.rows -= 1
                self.meter.end(job.ticket, job.prompt_tokens, round(job.work))
                job.on_end(now_s)
        self._plan(one, now_s)
        self._bury(one)
        self._fill()
