"""From labelled attempts to a cascade policy with a guarantee, and what a policy does on other labelled attempts."""

from serve_app.training.cascade.fit import Fit, fit, fit_table
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.outcomes import LabelledAttempt, TokenCounts, read_attempts, write_attempts
from serve_app.training.cascade.report import evaluate
from serve_app.training.cascade.simulate import Prices, Replay, prices_of, replay, replay_policy
from serve_app.training.cascade.table import Table, tabulate

__all__ = [
    "Fit",
    "FitOptions",
    "LabelledAttempt",
    "Prices",
    "Replay",
    "Table",
    "TokenCounts",
    "evaluate",
    "fit",
    "fit_table",
    "prices_of",
    "read_attempts",
    "replay",
    "replay_policy",
    "tabulate",
    "write_attempts",
]
