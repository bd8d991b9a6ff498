"""Writes the README's section of figures and docs/figures.md from bench/results/*.json and the adapters' metrics.

    python -m bench.readme_figures

The README has what was to be reached and a line for each capability (`reached`, `headlines`), the page has all tables
(the other modules, a capability each). The report (bench/report) is written too, so that all are of the same results.
Nothing is measured here.
"""

from bench.readme_figures.page import page
from bench.readme_figures.section import section

__all__ = ["page", "section"]
