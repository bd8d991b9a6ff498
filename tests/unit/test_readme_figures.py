"""The README quotes what the benches measured, and nothing else."""

import importlib.util
from pathlib import Path


def test_the_figures_are_those_of_the_result_files(repo: Path) -> None:
    spec = importlib.util.spec_from_file_location("readme_figures", repo / "bench" / "readme_figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (repo / "README.md").read_text(encoding="utf-8")
    quoted = readme.partition(module.START)[2].partition(module.END)[0].strip()
    assert quoted == module.figures(), "run: python bench/readme_figures.py"
