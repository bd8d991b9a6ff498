"""Simulated replicas with adapter slots: what each way of placing calls makes of hit rate and time to first token.

A replica answers in steps, as the engine does: a token of each row, and the prompt of a new row, of which a token
counts as 0.3. A step's time is a line through the measured rates of bench/results/engine.json, and what a load under
way adds to it is from there too. Which adapter lies where is decided by the engine's own `Residency`; one adapter
loads at a time, `load_s` each.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from statistics import median
from typing import Any

import numpy as np

from bench.engine.arrivals import ANSWER_TOKENS, zipf
from bench.engine.material import PROMPT_TOKENS
from bench.machine import RESULTS
from serve_app.affinity import Aims, Popularity, Rendezvous, Replica, candidates
from serve_app.engine.residency import Residency
from serve_app.scaling.meter import PROMPT_WEIGHT

LIVE_ROWS, SLOTS = 32, 32
REPORT_S = 2.0
"""Between two reports of what is resident."""
NUM_GATEWAYS = 2


@dataclass(frozen=True)
class Speeds:
    """Measured: of one replica on two cores."""

    step_s: float
    row_s: float
    """A step of so many rows takes `step_s + row_s * rows`."""
    slowed: float
    """A step's time while an adapter loads, over its time otherwise."""
    calls_per_s: float
    """What a replica with all adapters resident can do."""

    @classmethod
    def read(cls) -> Speeds:
        """Of bench/results/engine.json."""
        found = json.loads((RESULTS / "engine.json").read_text())
        rates = {int(rows): rate for rows, rate in found["tokens_per_s"]["mixed"].items()}
        row_s, step_s = np.polyfit(list(rates), [rows / rate for rows, rate in rates.items()], 1)
        poisson = found["over_time"]["poisson"]
        gaps = [one["longest_gap_ms"] for one in poisson if one["longest_gap_ms"]["while_loading"]]
        return cls(
            step_s=float(step_s),
            row_s=float(row_s),
            slowed=median(gap["while_loading"] / gap["otherwise"] for gap in gaps),
            calls_per_s=found["over_time"]["capacity_requests_per_s"],
        )


@dataclass(eq=False)
class Job:
    """One call."""

    index: int
    asked_s: float
    version: str
    left: int = ANSWER_TOKENS
    first_s: float | None = None


@dataclass(eq=False)
class Node:
    """One replica."""

    name: str
    cluster: Cluster
    waiting: deque[Job] = field(default_factory=deque)
    rows: list[Job] = field(default_factory=list)
    loads: deque[tuple[int, str]] = field(default_factory=deque)
    stepping: bool = False
    lost: bool = False
    reported: frozenset[str] = frozenset()
    num_loads: int = 0

    def __post_init__(self) -> None:
        self.residency = Residency(SLOTS, self._request_load)
        for version in self.cluster.versions:
            self.residency.add(version)

    @property
    def ongoing(self) -> int:
        """Calls it holds."""
        return len(self.waiting) + len(self.rows)

    def take(self, job: Job) -> None:
        """One call more."""
        self.waiting.append(job)
        self.step()

    def step(self) -> None:
        """Begin a step, if none is under way and there is something to do."""
        if self.stepping or self.lost:
            return
        speeds, new = self.cluster.speeds, None
        for job in self.waiting if len(self.rows) < LIVE_ROWS else ():
            if self.residency.ready(job.version):
                new = job
                break
        if new is not None:
            self.waiting.remove(new)
            self.residency.hold(new.version)
            self.rows.append(new)
        if not self.rows:
            return
        tokens = len(self.rows) + (PROMPT_TOKENS * PROMPT_WEIGHT if new is not None else 0.0)
        took_s = speeds.step_s + speeds.row_s * tokens
        self.stepping = True
        self.cluster.after(took_s * (speeds.slowed if self.loads else 1.0), self._stepped)

    def _stepped(self) -> None:
        self.stepping = False
        if self.lost:
            return
        for job in self.rows:
            job.first_s = self.cluster.now_s if job.first_s is None else job.first_s
            job.left -= 1
            if not job.left:
                self.residency.release(job.version)
        self.rows = [job for job in self.rows if job.left]
        self.step()

    def _request_load(self, slot: int, version: str) -> None:
        self.num_loads += 1
        self.loads.append((slot, version))
        if len(self.loads) == 1:
            self.cluster.after(self.cluster.load_s, self._loaded)

    def _loaded(self) -> None:
        if self.lost:
            return
        slot, version = self.loads.popleft()
        self.residency.loaded(slot, version)
        if self.loads:
            self.cluster.after(self.cluster.load_s, self._loaded)
        self.step()


Place = Callable[["Cluster", Job], Node]


class Cluster:
    """Replicas, a clock, and calls that are placed on them."""

    def __init__(self, num_replicas: int, num_adapters: int, load_s: float, speeds: Speeds) -> None:
        self.now_s, self.load_s, self.speeds = 0.0, load_s, speeds
        self.versions = [f"version-{index}" for index in range(num_adapters)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.nodes = [Node(f"replica-{index}", self) for index in range(num_replicas)]

    def after(self, wait_s: float, act: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._events, (self.now_s + wait_s, next(self._serial), act))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._events:
            self.now_s, _, act = heapq.heappop(self._events)
            act()

    @property
    def running(self) -> list[Node]:
        """Replicas that calls can be given to."""
        return [node for node in self.nodes if not node.lost]

    def lose(self, node: Node, place: Place) -> None:
        """A replica dies; its calls begin anew elsewhere."""
        node.lost = True
        for job in [*node.rows, *node.waiting]:
            job.left = ANSWER_TOKENS
            place(self, job).take(job)


def power_of_two(chance: random.Random) -> Place:
    """Serve's own: the less loaded of two by chance."""

    def place(cluster: Cluster, job: Job) -> Node:
        two = chance.sample(cluster.running, 2)
        return min(two, key=lambda node: node.ongoing)

    return place


def affinity(chance: random.Random, aims: Aims) -> Place:
    """Ours, at gateways that each know only their own part of the traffic."""
    shares = [Popularity() for _ in range(NUM_GATEWAYS)]
    known: dict[int, Rendezvous] = {}

    def place(cluster: Cluster, job: Job) -> Node:
        nodes = {node.name: node for node in cluster.running}
        rendezvous = known.setdefault(len(nodes), Rendezvous(nodes))  # replicas only go
        popularity = chance.choice(shares)
        popularity.seen(job.version, cluster.now_s)
        replicas = {name: Replica(name, node.ongoing, node.reported) for name, node in nodes.items()}
        share = popularity.share(job.version, cluster.now_s)
        return nodes[candidates(replicas, rendezvous.order(job.version), job.version, share, aims)[0].replica_id]

    return place


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic. Times as shares of the whole; figures are taken from `from_share` on."""

    adapters: int
    replicas: int
    load: float = 0.5
    """Of what all replicas can do."""
    shift_at: float | None = None
    """Other adapters become the popular ones."""
    lose_at: float | None = None
    """A replica dies and does not come back."""
    from_share: float = 0.3


def play(scenario: Scenario, place: Place, seed: int, num_calls: int, load_s: float, speeds: Speeds) -> dict[str, Any]:
    """One run; arrivals and adapters depend on the seed alone."""
    cluster = Cluster(scenario.replicas, scenario.adapters, load_s, speeds)
    jobs = _arrivals(scenario, cluster.versions, seed, num_calls, speeds)
    for job in jobs:
        cluster.after(job.asked_s, partial(lambda job: place(cluster, job).take(job), job))
    end_s = jobs[-1].asked_s
    for node in cluster.nodes:
        for tick in range(1, int(end_s / REPORT_S) + 1):
            cluster.after(tick * REPORT_S, partial(_report, node))
    before: list[int] = []
    cluster.after(scenario.from_share * end_s, lambda: before.append(sum(node.num_loads for node in cluster.nodes)))
    if scenario.lose_at is not None:
        cluster.after(scenario.lose_at * end_s, lambda: cluster.lose(cluster.nodes[0], place))
    cluster.run()
    counted = [job for job in jobs if job.asked_s >= scenario.from_share * end_s]
    first_ms = [1000 * (job.first_s - job.asked_s) for job in counted if job.first_s is not None]
    loads = sum(node.num_loads for node in cluster.nodes) - before[0]
    p50, p99 = np.percentile(first_ms, [50, 99])
    return {
        "answered": len(first_ms) / len(counted),
        "hit_rate": 1 - loads / len(counted),
        "first_token_p50_ms": float(p50),
        "first_token_p99_ms": float(p99),
    }


def _report(node: Node) -> None:
    node.reported = frozenset(node.residency.resident())


def _arrivals(scenario: Scenario, versions: list[str], seed: int, num_calls: int, speeds: Speeds) -> list[Job]:
    chance = random.Random(seed)
    per_s = scenario.load * speeds.calls_per_s * scenario.replicas
    weights = list(accumulate(zipf(scenario.adapters)))
    ranking = chance.sample(versions, len(versions))
    shift = num_calls if scenario.shift_at is None else int(scenario.shift_at * num_calls)
    jobs, at_s = [], 0.0
    for index in range(num_calls):
        if index == shift:
            ranking = chance.sample(versions, len(versions))
        at_s += chance.expovariate(per_s)
        jobs.append(Job(index, at_s, chance.choices(ranking, cum_weights=weights)[0]))
    return jobs


def scenarios(quick: bool) -> Mapping[str, Scenario]:
    """By name."""
    found = {}
    for replicas, adapters in ((3, 200), (3, 1000)) if quick else ((3, 200), (3, 1000), (8, 200), (8, 1000)):
        name = f"{adapters} adapters, {replicas} replicas"
        found[f"{name}, steady"] = Scenario(adapters, replicas)
        found[f"{name}, popular ones change"] = Scenario(adapters, replicas, shift_at=0.5, from_share=0.5)
        found[f"{name}, one lost"] = Scenario(adapters, replicas, lose_at=0.5, from_share=0.5)
    return found


def simulate(quick: bool, load_s: float) -> dict[str, Any]:
    """All scenarios, each way on the same calls; means over seeds."""
    speeds = Speeds.read()
    ways: dict[str, Callable[[random.Random], Place]] = {
        "power of two": power_of_two,
        "affinity": partial(affinity, aims=Aims()),
        "affinity without bound and spread": partial(affinity, aims=Aims(bound=1e9, spread=0.0)),
    }
    found: dict[str, Any] = {}
    num_calls, seeds = (3000, range(2)) if quick else (10_000, range(5))
    for name, scenario in scenarios(quick).items():
        found[name] = {}
        for way, make in ways.items():
            runs = [play(scenario, make(random.Random(seed)), seed, num_calls, load_s, speeds) for seed in seeds]
            found[name][way] = {key: round(float(np.mean([run[key] for run in runs])), 4) for key in runs[0]}
    return {"load_s": load_s, "slots": SLOTS, "calls": num_calls, "seeds": len(seeds), "scenarios": found}
