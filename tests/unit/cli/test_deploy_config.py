"""`headrace deploy-config` writes what `serve deploy` takes, or says in one sentence why not."""

import sys
from pathlib import Path

import pytest
import yaml

from serve_app.cli.main import main
from serve_app.config import profiles


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["headrace", "deploy-config", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_a_profile_is_named_and_a_file_is_given_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(profiles()["demo"].read_text())
    out = tmp_path / "serve.yaml"
    for given, named in (("cluster", "cluster"), ("mine.yaml", str(tmp_path / "mine.yaml"))):
        assert run(monkeypatch, "--graph", "cascade", "--config", given, "--out", str(out)) == 0
        (application,) = yaml.safe_load(out.read_text())["applications"]
        assert application["runtime_env"]["env_vars"]["HEADRACE_CONFIG"] == named
    assert "`serve deploy" in capsys.readouterr().out
    assert run(monkeypatch, "--graph", "cascade", "--config", "mine.yaml") == 0
    assert capsys.readouterr().out == out.read_text()
    assert run(monkeypatch, "--config", "mine.yaml", "--out", "mine.yaml") == 2
    assert Path("mine.yaml").read_text() == profiles()["demo"].read_text()


def test_a_graph_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--graph", "cascades") == 1
    assert "There is no graph 'cascades'; choose production" in capsys.readouterr().err
