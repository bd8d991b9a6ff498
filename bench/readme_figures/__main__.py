"""See bench/readme_figures/__init__.py."""

from bench.machine import REPO
from bench.readme_figures import page, section
from bench.readme_figures.results import RESULTS
from bench.report.files import write

START, END = "<!-- figures: written by bench/readme_figures -->", "<!-- end of figures -->"


def main() -> None:
    """Replace what stands between the README's marks, and write page and report."""
    readme = REPO / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    readme.write_text(f"{before}{START}\n{section()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    (REPO / "docs" / "figures.md").write_text(page(), encoding="utf-8")
    write(RESULTS, RESULTS)


if __name__ == "__main__":
    main()
