import json

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.core import ConfigError, DataError
from serve_app.training.cascade import read_attempts

ROWS = [
    {
        "id": "a",
        "question": "1 + 1?",
        "small_answer": "2",
        "large_answer": "The answer is 2.",
        "reference": 2,
        "route": "general",
        "prompt_tokens": 4,
        "tokens": [[-0.1, 0.2, 3.0, 17]],
        "small_usage": {"prompt_tokens": 4, "completion_tokens": 1},
    },
    {
        "id": "b",
        "question": "2 + 2?",
        "small_answer": "5",
        "reference": 4,
        "prompt_tokens": 4,
        "tokens": [],
        "small_usage": {"prompt_tokens": 4, "completion_tokens": 0},
    },
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["label", *map(str, arguments)])


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_keep_what_they_had_and_get_their_labels(log, tmp_path):
    out = tmp_path / "labelled.jsonl"
    done = run("--log", log, "--scorer", "numeric", "--out", out, "--option", "tolerance=.5")
    assert done.exit_code == 0, done.output
    assert "2 of 2 rows written" in done.stdout
    assert "small answers score 100.0%; large answers 100.0% over 1 rows" in done.stdout
    first, second = read(out)
    assert first == {**ROWS[0], "small_right": 1.0, "large_right": 1.0}
    assert second["large_right"] is None
    assert list(tmp_path.iterdir()) == [log, out] or {*tmp_path.iterdir()} == {log, out}


def test_with_text_or_without_fit_reads_the_rows(log, tmp_path):
    out = tmp_path / "labelled.jsonl"
    run("--log", log, "--scorer", "numeric", "--out", out)
    assert [attempt.small_right for attempt in read_attempts(out)] == [1.0, 0.0]


def test_without_text_the_rows_are_what_fit_reads(log, tmp_path):
    out = tmp_path / "labelled.jsonl"
    done = run("--log", log, "--scorer", "numeric", "--out", out, "--drop-text", "--json")
    assert json.loads(done.stdout)["small_right"] == 0.5
    assert [attempt.small_right for attempt in read_attempts(out)] == [1.0, 0.0]
    assert "1 + 1?" not in out.read_text()


def test_what_cannot_be_judged_is_dropped_or_wrong(log, tmp_path):
    rows = [{**ROWS[0], "choices": ["one", "two"], "reference": "B", "small_answer": "Hm."}]
    log.write_text(json.dumps(rows[0]) + "\n")
    out = tmp_path / "labelled.jsonl"
    unsure = ("--log", log, "--scorer", "choice", "--out", out, "--option", "unstated=unknown")
    assert "1 small answers could not be judged and count as wrong" in run(*unsure).stdout
    assert read(out)[0]["small_right"] == 0.0
    figures = json.loads(run(*unsure, "--untold", "drop", "--json").stdout)
    assert (figures["written"], figures["untold"]) == (0, 1)
    assert out.read_text() == ""


def test_mistakes_are_told_in_a_sentence(log, tmp_path):
    out = tmp_path / "labelled.jsonl"
    assert run("--log", log, "--scorer", "numeric", "--out", log).exit_code == 2
    assert run("--log", log, "--scorer", "numeric", "--out", out, "--option", "tolerance").exit_code == 2
    assert isinstance(run("--log", log, "--scorer", "vibes", "--out", out).exception, ConfigError)
    failed = run("--log", log, "--scorer", "agreement", "--out", out)
    assert isinstance(failed.exception, DataError)
    assert "log.jsonl:2: `large_answer` is missing" in str(failed.exception)
    assert not out.exists()


def test_with_programs_it_says_what_kept_them_in(log, tmp_path):
    row = {"id": "a", "small_answer": "def f(): return 1", "tests": ["assert f() == 1"]}
    log.write_text(json.dumps(row) + "\n")
    option = ("--option", "without_namespaces=true")
    done = run("--log", log, "--scorer", "code", "--out", tmp_path / "out.jsonl", *option)
    assert "small answers score 100.0%; programs were kept in by" in done.stdout
    assert "audit hook, resource limits." in done.stdout
