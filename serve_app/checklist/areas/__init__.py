"""The checks by area. Importing this package fills the table `checks.CHECKS`."""

from serve_app.checklist.areas import (
    cascade,
    compliance,
    cost,
    data,
    evaluation,
    observability,
    reliability,
    routing,
    security,
    serving,
    training,
)

__all__ = [
    "cascade",
    "compliance",
    "cost",
    "data",
    "evaluation",
    "observability",
    "reliability",
    "routing",
    "security",
    "serving",
    "training",
]
