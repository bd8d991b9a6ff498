"""The router: names the domain of a conversation, on a CPU, in milliseconds.

    conversation ──reading──▶ texts ──encoder──▶ vectors ──classifier──▶ probabilities ──settle, floor──▶ RouteScore
                 conversation.py                            classifier.py                conversation.py, domain.py

Knows texts, labels and probabilities; knows no adapters, no HTTP, no Ray, and does not train: `training.router` does.
"""

from serve_app.router.domain import DomainRouter, shipped
from serve_app.router.evaluate import evaluate
from serve_app.router.rows import Row, read_rows

__all__ = ["DomainRouter", "Row", "evaluate", "read_rows", "shipped"]
