"""Many adapters on one base, chosen by the router.

HTTP ─▶ Gateway ─┬─▶ Router        text ─▶ domain
                 ├─▶ Specialists   base + adapters
                 ├─▶ Retriever     question ─▶ passages, with rag.enabled
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` (routed), `router`, `base` and each adapter."""
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        router=bind.router(settings, ledger),
        retriever=bind.retriever(settings),
        ledger=ledger,
    )


app = build(load())
