"""All targets, by capability, and what no bench measures."""

from bench.report.target import Section, Unmeasured
from bench.report.targets.answers import ENSEMBLE, RAG
from bench.report.targets.cascade import CASCADE
from bench.report.targets.engine import ENGINE
from bench.report.targets.learning import LIFECYCLE
from bench.report.targets.ledger import LEDGER
from bench.report.targets.routing import ROUTER, ROUTING
from bench.report.targets.serving import CLUSTER, GATEWAY, SCALING

SECTIONS: tuple[Section, ...] = (
    ROUTER,
    ENGINE,
    CASCADE,
    ROUTING,
    LEDGER,
    GATEWAY,
    ENSEMBLE,
    RAG,
    LIFECYCLE,
    CLUSTER,
    SCALING,
)

UNMEASURED: tuple[Unmeasured, ...] = (
    Unmeasured(
        "the engine on a CUDA card",
        "No bench has run on one: every figure here is of processors.",
    ),
    Unmeasured(
        "a year of 10 M queries a day",
        "Not loaded: 10 M rows were tried. Partitions by day and hourly totals, on which it leans: docs/ledger.md.",
    ),
    Unmeasured(
        "greedy tokens equal to PEFT's, no slot leaked, no row lost, no starvation",
        "Held by tests, which say yes or no: tests/models, tests/parts/engine, tests/unit/engine.",
    ),
    Unmeasured(
        "100 concurrent requests against a budget for 10",
        "Held by tests: tests/unit/budgets.",
    ),
    Unmeasured(
        "the loop never lags over 50 ms; only loopback listens",
        "Held by tests on a running graph: tests/ray.",
    ),
)
"""Asked for, but no figure of a result file."""
