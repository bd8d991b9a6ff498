"""Passages of documents before the question; the large model where nothing relevant is found, or the answer is unsure.

HTTP ─▶ Gateway ─┬─▶ Retriever     question ─▶ passages
                 ├─▶ Specialists   base + adapters
                 ├─▶ Fallback      the large model
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `rag`, `auto` and `cascade` (base, then large), `large`, `base` and each adapter."""
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        fallback=bind.fallback(settings),
        retriever=bind.retriever(settings, always=True),
        ledger=ledger,
    )


app = build(load())
