"""Many adapters on one base, chosen by name.

HTTP ─▶ Gateway ─┬─▶ Specialists   base + adapters
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `base` and each adapter; `auto` is the base."""
    return bind.gateway(settings, specialists=bind.specialists(settings), ledger=bind.ledger(settings))


app = build(load())
