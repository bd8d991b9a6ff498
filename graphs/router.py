"""Many adapters on one base, chosen by the router.

HTTP ─▶ Gateway ─┬─▶ Router        text ─▶ domain
                 ├─▶ Specialists   base + adapters
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` (routed), `router`, `base` and each adapter."""
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings),
        router=bind.router(settings),
        ledger=bind.ledger(settings),
    )


app = build(load())
