"""A node's own interpreter is tried before anything starts, and what is wrong with it is one sentence."""

import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from serve_app.config import Settings, load
from serve_app.config.nodes import NodeSettings
from serve_app.core import ConfigError
from serve_app.deployments.interpreters import check_interpreters

OLD = json.dumps({"ray": "2.9.0", "python": "3.11.7"})


def settings(python: str | Path | None) -> Settings:
    demo = load("demo")
    node = demo.specialists.model_copy(update={"python": python and str(python)})
    return demo.model_copy(update={"specialists": node})


def stand_in(folder: Path, body: str) -> Path:
    """A program in an interpreter's place."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_cluster_s_own_interpreter_is_good() -> None:
    check_interpreters(settings(sys.executable))
    check_interpreters(settings(None))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"echo '{OLD}'", r"has ray 2\.9\.0, and the cluster runs 2\.60"),
        ("echo oh >&2; echo No module named serve_app >&2; exit 1", r"cannot import .* \(No module named serve_app\)"),
    ],
)
def test_other_versions_and_missing_packages_are_told(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"specialists\.python: \S+ {said}.*docs/vllm\.md"):
        check_interpreters(settings(stand_in(tmp_path, body)))


def test_a_path_that_is_no_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"specialists\.python: .* cannot be run .*name an interpreter"):
        check_interpreters(settings(tmp_path / "none"))


def test_a_relative_path_is_refused_as_is_what_vllm_cannot_do() -> None:
    with pytest.raises(ValidationError, match="no absolute path"):
        NodeSettings(model="any", python="venv/bin/python")
    with pytest.raises(ValidationError, match="linear int8 is of engine local"):
        NodeSettings(model="any", engine="vllm", linear="int8")
