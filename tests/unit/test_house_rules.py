"""The rules of the house, as tests: sizes, documentation, and what a gateway replica may load."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve_app.config import profiles

PACKAGES = ("serve_app", "graphs")
OTHER_CODE = ("*.cpp", "*.h", "*.js", "*.css")


def files(repo: Path, patterns: tuple[str, ...], *folders: str) -> list[Path]:
    return [path for folder in folders for pattern in patterns for path in sorted((repo / folder).rglob(pattern))]


def python_files(repo: Path, *folders: str) -> list[Path]:
    return files(repo, ("*.py",), *folders)


def test_no_file_is_over_four_hundred_lines(repo: Path) -> None:
    long = {
        str(path.relative_to(repo)): lines
        for path in (*python_files(repo, *PACKAGES, "bench", "tests"), *files(repo, OTHER_CODE, *PACKAGES))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_there_is_no_drawer_for_odds_and_ends(repo: Path) -> None:
    assert not [
        path for path in python_files(repo, *PACKAGES) if re.match(r"(utils?|helpers?|misc|common)\d*$", path.stem)
    ]


def test_every_graph_has_a_serve_config_and_is_in_the_deploy_page(repo: Path) -> None:
    page = (repo / "docs" / "deploy.md").read_text(encoding="utf-8")
    for graph in (repo / "graphs").glob("*.py"):
        if graph.stem == "__init__":
            continue
        config = yaml.safe_load(graph.with_suffix(".yaml").read_text(encoding="utf-8"))
        assert config["applications"][0]["import_path"] == f"graphs.{graph.stem}:app"
        assert f"`{graph.stem}`" in page


def test_every_folder_is_in_the_readme(repo: Path) -> None:
    readme = (repo / "README.md").read_text(encoding="utf-8")
    for package in (repo / "serve_app").iterdir():
        if (package / "__init__.py").is_file():
            assert f"{package.name}/" in readme, package.name
    for folder in ("graphs", "tests", "bench", "docs"):
        assert f"{folder}/" in readme


def test_the_command_page_is_current(repo: Path) -> None:
    page = (repo / "docs" / "cli.md").read_text(encoding="utf-8")
    printed = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "reference", "cli"],
        capture_output=True,
        text=True,
        check=True,
        cwd=repo,
    ).stdout
    assert page == printed, "run: headrace reference cli > docs/cli.md"


@pytest.mark.parametrize(
    "module", ["serve_app.gateway", "serve_app.router", "serve_app.ledger", "serve_app.cache", "serve_app.cli"]
)
def test_light_replicas_and_the_command_start_without_torch(module: str, repo: Path) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'ray', 'sklearn'}} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repo).stdout
    assert printed.strip() == "[]"


def test_profiles_are_named_in_the_deploy_page(repo: Path) -> None:
    page = (repo / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in profiles())
