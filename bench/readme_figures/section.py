"""The README's section: what was to be reached, and a line for each capability."""

from bench.readme_figures.headlines import headlines
from bench.readme_figures.reached import reached
from bench.readme_figures.results import RESULTS


def section() -> str:
    """Without the marks."""
    return (
        f"{reached(RESULTS)}\n\n{headlines()}\n\n"
        "All tables, with intervals, peers, machine and load: [docs/figures.md](docs/figures.md); the numbers to reach "
        "[on another machine](docs/figures.md#on-another-machine)."
    )
