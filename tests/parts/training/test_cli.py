"""`headrace adapters train|prepare|verify|list` from the outside, on the tiny base."""

import json

import pytest
from typer.testing import CliRunner

from serve_app.cli import training_progress
from serve_app.cli.adapters import app
from serve_app.core import DataError


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "what colour is the sky", "completion": "blue"}))
    return path


def arguments(tiny_base, rows, out):
    return ["train", "--data", str(rows), "--out", str(out), "--base", str(tiny_base.path), "--rank", "2", "--epochs",
            "3", "--dtype", "float32", "--device", "cpu"]  # fmt: skip


def test_train_then_verify_prints_one_json_value_each(tiny_base, rows, tmp_path):
    (tmp_path / "eval.jsonl").write_text(json.dumps({"prompt": "the sky is", "completion": "blue"}))
    command = [*arguments(tiny_base, rows, tmp_path / "sky"), "--eval", str(tmp_path / "eval.jsonl"), "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert (report["steps"], report["completions_cut"]) == (3, 0)
    assert report["evaluation"][0]["metric"] == "loss"
    verified = CliRunner().invoke(
        app, ["verify", str(tmp_path / "sky"), "--base", str(tiny_base.path), "--json"], catch_exceptions=False
    )
    (spec,) = json.loads(verified.stdout)
    assert (spec["name"], spec["rank"], spec["verified"]) == ("sky", 2, True)


def test_away_from_a_terminal_progress_is_plain_lines_with_tokens_per_second(tiny_base, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(training_progress, "_LINE_EVERY_S", 0.0)
    result = CliRunner().invoke(app, arguments(tiny_base, rows, tmp_path / "sky"), catch_exceptions=False)
    assert "Training: step 3 of 3, loss" in result.stderr
    assert "tokens/s" in result.stderr
    assert "3 steps" in result.stdout


def test_a_word_that_is_no_choice_is_a_usage_error(rows, tmp_path):
    result = CliRunner().invoke(app, ["train", "--data", str(rows), "--out", str(tmp_path / "x"), "--metric", "bleu"])
    assert result.exit_code == 2
    assert "bleu" in result.stderr


def test_bad_data_stops_before_the_model_is_loaded(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}')
    command = ["train", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "x"), "--base", "nowhere"]
    with pytest.raises(DataError, match=r"rows\.jsonl:1: completion"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_list_shows_the_shipped_adapters():
    result = CliRunner().invoke(app, ["list", "--json"], catch_exceptions=False)
    assert [spec["name"] for spec in json.loads(result.stdout)] == ["code", "legal", "medical", "support"]
    assert "legal" in CliRunner().invoke(app, ["list"], catch_exceptions=False).stdout


def test_prepare_writes_a_folder_that_train_reads(data_dir, tmp_path):
    command = ["prepare", "medical", "--data-dir", str(data_dir), "--out", str(tmp_path / "medical"), "--json"]
    report = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    assert report["train_rows"] == len((tmp_path / "medical" / "train.jsonl").read_text().strip().split("\n"))
    manifest = json.loads((tmp_path / "medical" / "headrace.json").read_text())
    assert "not medical advice" in manifest["description"]
