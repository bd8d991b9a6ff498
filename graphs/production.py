"""The whole: routed to a specialist, escalated where that one is unsure, billed.

HTTP ─▶ Gateway ─┬─▶ Router        text ─▶ domain
                 ├─▶ Specialists   base + adapters
                 ├─▶ Fallback      the large model
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` (routed, then large), `router`, `cascade`, `large`, `base` and each adapter."""
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings),
        fallback=bind.fallback(settings),
        router=bind.router(settings),
        ledger=bind.ledger(settings),
    )


app = build(load())
