"""The HTTP side: OpenAI's API over the patterns, keys, limits, health, metrics and the read side of the ledger.

    app, services                           the whole app, and what it needs from outside
    openapi, schemas, error_codes           how it describes itself; `reference` writes docs/http.md from that
    auth, limits, errors, ids               keys, bounds of a request, error answers, names of queries
    requests, parameters, parse, forms      what may be sent, and how it is read
    queries, life, choices, respond         a query comes in, lives and goes out; `shapes`: `chat` and `texts`
    again, repeated, capture, citations     given before, sent again, kept for training, quoted; `comparison` of two
    in_flight, admission, expected_wait     places: how many there are, and who is refused
    deadline, disconnect, purse             the end of a query's time, of its client's interest, of its money
    accounts, models, status, checklist     pages for people; `health`, `metrics`, `readings`, `guarantee` for machines
    adapters, documents                     their pages, and how the gateway follows the adapter registry

Knows HTTP and the shapes of OpenAI's answers; knows no Ray, no tensors, no SQL.
"""

from serve_app.gateway.adapters import AdapterBook, Canaries, Publisher, RoutingBook
from serve_app.gateway.app import create_app
from serve_app.gateway.comparison import comparison
from serve_app.gateway.ids import new_gateway_id
from serve_app.gateway.metrics import Metrics, PrometheusMetrics
from serve_app.gateway.services import Services, Tunables

__all__ = [
    "AdapterBook",
    "Canaries",
    "Metrics",
    "PrometheusMetrics",
    "Publisher",
    "RoutingBook",
    "Services",
    "Tunables",
    "comparison",
    "create_app",
    "new_gateway_id",
]
