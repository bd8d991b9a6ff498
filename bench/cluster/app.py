"""The graph of the bench, `bench.cluster.app:app`: as graphs/production, with a router that needs no model.

HTTP ─▶ Gateway ─┬─▶ Router        CPU, and 0.3 of a GPU to see such a fraction placed
                 ├─▶ Specialists   0.5 of a GPU
                 ├─▶ Fallback      a whole one
                 └─▶ Ledger        every attempt ─▶ SQL
"""

from ray import serve
from ray.serve import Application

from bench.cluster.engines import ScriptedRouter
from serve_app.config import Settings, load
from serve_app.deployments import bind


def build(settings: Settings) -> Application:
    """Models: as of graphs/production."""
    router = serve.deployment(ScriptedRouter, name="Router", **bind.serve_options(settings, "router"))
    ledger = bind.ledger(settings)
    return bind.gateway(
        settings,
        specialists=bind.specialists(settings, ledger),
        fallback=bind.fallback(settings),
        router=router.bind(),
        ledger=ledger,
    )


app = build(load())
