"""The HTTP side: OpenAI's API over the patterns, keys, limits, health, metrics and the read side of the ledger.

Knows HTTP and the shapes of OpenAI's answers; knows no Ray, no tensors, no SQL. A query comes in by `queries`, lives in
`life` and goes out by `respond`.
"""

from serve_app.gateway.app import create_app
from serve_app.gateway.comparison import comparison
from serve_app.gateway.ids import new_gateway_id
from serve_app.gateway.metrics import Metrics, PrometheusMetrics
from serve_app.gateway.services import Services, Tunables

__all__ = ["Metrics", "PrometheusMetrics", "Services", "Tunables", "comparison", "create_app", "new_gateway_id"]
