"""The whole: routed to a specialist, escalated where that one is unsure, billed.

HTTP ─▶ Gateway ─┬─▶ Router        text ─▶ domain
                 ├─▶ Specialists   base + adapters
                 ├─▶ Fallback      the large model
                 ├─▶ Retriever     question ─▶ passages, with rag.enabled
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` (routed, then large), `router`, `cascade`, `large`, `base` and each adapter."""
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        fallback=bind.fallback(settings),
        router=bind.router(settings, ledger),
        retriever=bind.retriever(settings),
        ledger=ledger,
    )


app = build(load())
