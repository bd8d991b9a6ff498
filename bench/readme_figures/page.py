"""docs/figures.md: all tables, by capability."""

from collections.abc import Callable, Mapping
from typing import Any

from bench.readme_figures.adapters import adapters
from bench.readme_figures.cascade import cascade
from bench.readme_figures.cluster import cluster
from bench.readme_figures.documents import rag
from bench.readme_figures.elsewhere import elsewhere
from bench.readme_figures.engine import engine, soak
from bench.readme_figures.ensemble import ensemble
from bench.readme_figures.ledger import accounting, chaos, scale
from bench.readme_figures.lifecycle import lifecycle
from bench.readme_figures.results import circumstances, read, taken
from bench.readme_figures.router import router, router_hop
from bench.readme_figures.routing import routing
from bench.readme_figures.scaling import affinity, autoscale
from bench.readme_figures.training import training

Part = Callable[[dict[str, Any]], str]
"""From a result file to text."""

HEAD = """# Figures

Written by `python -m bench.readme_figures` from the JSON files in `bench/results/`, each of which has the versions, the
cores and the load of its run. How they are taken: [How it is measured](benchmarks.md). What was to be reached:
`bench/results/report.html`.
"""


def _placed(part: Callable[[dict[str, Any], str], str]) -> Part:
    """A part that is told where its figures were taken."""
    return lambda found: part(found, circumstances(found["machine"]))


PARTS: Mapping[str, Mapping[str, Part]] = {
    "Router": {"router": router, "router_hop": router_hop, "routing": routing},
    "Cascade": {"cascade": cascade},
    "Engine": {"engine": engine, "soak": soak},
    "Ledger": {"ledger": _placed(accounting), "ledger_chaos": _placed(chaos), "ledger_scale": _placed(scale)},
    "Cluster": {"cluster": _placed(cluster)},
    "Scaling": {"affinity": _placed(affinity), "autoscale_sim": _placed(autoscale)},
    "Training": {"training": _placed(training)},
    "Adapters": {"lifecycle": _placed(lifecycle)},
    "Ensembles": {"ensemble": _placed(ensemble)},
    "Documents": {"rag": _placed(rag)},
}
"""Heading -> result file -> what is shown of it; a file that is not there is left out."""


def page() -> str:
    """The whole page."""
    parts = {title: _texts(title) for title in PARTS} | {"On another machine": elsewhere()}
    return "\n\n".join([HEAD.strip(), *(f"## {title}\n\n{text}" for title, text in parts.items() if text)]) + "\n"


def _texts(title: str) -> str:
    texts = [part(read(name)) for name, part in PARTS[title].items() if taken(name)]
    return "\n\n".join([adapters(), *texts] if title == "Adapters" else texts)
