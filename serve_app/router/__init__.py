"""The router: names the domain of a conversation, on a CPU, in milliseconds.

    conversation ──reading──▶ texts ──encoder──▶ vectors ──classifier──▶ probabilities ──settle, floor──▶ RouteScore
                 conversation.py                            classifier.py                conversation.py, domain.py

    domain, load, following         the router, made from settings, and replaced while it is asked
    artifact                        on disk
    conversation, follow_up, text   which words are read, and what turns decide together; `cache` what was read lately
    classifier                      the models: examples with term_rows, linear, network, terms with vocabulary
    evaluate, metrics, rows         labelled queries, and how good a router is on them

Knows texts, labels and probabilities; knows no adapters, no HTTP, no Ray, and does not train: `training.router` does.
"""

from serve_app.router.domain import DomainRouter, shipped
from serve_app.router.evaluate import evaluate
from serve_app.router.rows import Row, read_rows

__all__ = ["DomainRouter", "Row", "evaluate", "read_rows", "shipped"]
