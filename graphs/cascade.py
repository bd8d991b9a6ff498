"""Small first, large where the small one is unsure; no router.

HTTP ─▶ Gateway ─┬─▶ Specialists   base + adapters
                 ├─▶ Fallback      the large model
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` and `cascade` (base, then large), `large`, `base` and each adapter."""
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings),
        fallback=bind.fallback(settings),
        ledger=bind.ledger(settings),
    )


app = build(load())
