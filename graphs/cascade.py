"""Small first, large where the small one is unsure; no router.

HTTP ─▶ Gateway ─┬─▶ Specialists   base + adapters
                 ├─▶ Fallback      the large model
                 ├─▶ Retriever     question ─▶ passages, with rag.enabled
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `auto` and `cascade` (base, then large), `large`, `base` and each adapter."""
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        fallback=bind.fallback(settings),
        retriever=bind.retriever(settings),
        ledger=ledger,
    )


app = build(load())
