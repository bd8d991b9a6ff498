"""The README and the page of figures quote what the benches measured, and nothing else."""

from pathlib import Path

from bench.readme_figures import page, section
from bench.readme_figures.__main__ import END, START


def test_the_readmes_figures_are_those_of_the_result_files(repo: Path) -> None:
    readme = (repo / "README.md").read_text(encoding="utf-8")
    quoted = readme.partition(START)[2].partition(END)[0].strip()
    assert quoted == section(), "run: python -m bench.readme_figures"


def test_the_page_of_figures_is_of_the_result_files(repo: Path) -> None:
    assert (repo / "docs" / "figures.md").read_text(encoding="utf-8") == page(), "run: python -m bench.readme_figures"
