"""Several answers in the place of one: adapters, samples, the base and the large model, by vote.

HTTP ─▶ Gateway ─┬─▶ Specialists   base + adapters, the members on it in one batch
                 ├─▶ Fallback      the large model, as a member or where the members disagree
                 ├─▶ Retriever     question ─▶ passages, with rag.enabled
                 └─▶ Ledger        every member ─▶ SQL
"""

from ray.serve import Application

from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: `ensemble`, `auto` and `cascade` (base, then large), `large`, `base` and each adapter."""
    settings = bind.with_members(settings)
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        fallback=bind.fallback(settings),
        retriever=bind.retriever(settings),
        ledger=ledger,
    )


app = build(load())
