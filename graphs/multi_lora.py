"""Many adapters on one base, chosen by name.

HTTP ─▶ Gateway ─┬─▶ Specialists   base + adapters
                 ├─▶ Retriever     question ─▶ passages, with rag.enabled
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `base` and each adapter; `auto` is the base."""
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        retriever=bind.retriever(settings),
        ledger=ledger,
    )


app = build(load())
