"""Relative paths survive the trip to a replica with another working directory."""

from pathlib import Path

import pytest

from serve_app.core import ConfigError
from serve_app.deployments.paths import folder_path, ledger_url, model_path
from serve_app.store import store_url


def test_a_relative_ledger_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("sqlite:///headrace.sqlite3", "headrace.sqlite3"):
        assert ledger_url(text) == f"{tmp_path}/headrace.sqlite3"


@pytest.mark.parametrize("name", ["a?b.sqlite3", "a%20b.sqlite3"])
def test_server_and_report_mean_the_same_file_by_one_name(tmp_path: Path, name: str) -> None:
    assert store_url(ledger_url(str(tmp_path / name))).database == str(tmp_path / name)


def test_another_database_is_left_alone() -> None:
    assert ledger_url("postgresql://ada:pw@db/ledger") == "postgresql://ada:pw@db/ledger"


def test_a_wrong_ledger_url_is_refused_before_deployment() -> None:
    with pytest.raises(ConfigError, match="unknown kind"):
        ledger_url("mysql://db/ledger")


def test_a_folder_becomes_absolute_and_a_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert folder_path("mine") == str(tmp_path / "mine")
    assert folder_path("shipped:legal") == "shipped:legal"


def test_a_catalogue_name_is_never_taken_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m-instruct").mkdir()
    assert model_path("smollm2-135m-instruct") == "smollm2-135m-instruct"
