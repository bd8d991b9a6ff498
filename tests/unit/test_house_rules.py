"""The rules of the house, as tests: sizes, names, and documentation."""

import re
from pathlib import Path

import yaml
from typer.testing import CliRunner

from serve_app.cli.main import app
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
    printed = CliRunner().invoke(app, ["reference", "cli"]).stdout
    assert page == printed, "run: headrace reference cli > docs/cli.md"


def test_profiles_are_named_in_the_deploy_page(repo: Path) -> None:
    page = (repo / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in profiles())
