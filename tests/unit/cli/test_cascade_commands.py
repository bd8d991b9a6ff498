"""`headrace cascade fit|evaluate|plot` from the outside."""

import json
import sys

import pytest
from typer.testing import CliRunner

from serve_app.cli.cascade import app
from serve_app.cli.main import main
from serve_app.confidence.policy import read
from serve_app.core import DataError
from serve_app.training.cascade import write_attempts
from tests.unit.confidence.synthetic import attempts


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_attempts(attempts(300), folder / "fit.jsonl.gz")
    write_attempts(attempts(120, seed=1), folder / "new.jsonl")
    write_attempts(attempts(100, ease=-3.0), folder / "hard.jsonl")
    return folder


@pytest.fixture(scope="module")
def policy(logs):
    path = logs / "policy.json"
    invoke("fit", "--outcomes", logs / "fit.jsonl.gz", "--out", path, "--alpha", ".2")
    return path


def invoke(*arguments, **options):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, env={"COLUMNS": "80"}, catch_exceptions=False, **options)


def test_fit_writes_the_policy_and_says_what_each_route_keeps(logs, tmp_path):
    command = ("fit", "--outcomes", logs / "fit.jsonl.gz", "--out", tmp_path / "policy.json", "--alpha", ".2")
    result = invoke(*command, "--route", "legal=.25", "--decide", "full", "--joint")
    assert result.exit_code == 0
    assert "legal (version v1): accepts above" in result.output
    assert "at most 25.0% of accepted answers wrong with probability 95.0%" in result.output
    assert "…" not in result.output
    found = read(tmp_path / "policy.json")
    assert (found.decide, found.find("legal", "v1").alpha, found.provenance.joint) == ("full", 0.25, True)


def test_fit_with_json_prints_one_object_of_the_threshold_part(logs, tmp_path):
    result = invoke("fit", "--outcomes", logs / "fit.jsonl.gz", "--out", tmp_path / "p.json", "--alpha", ".3", "--json")
    figures = json.loads(result.stdout)
    assert [(found["route"], found["rows"]) for found in figures["routes"]] == [("code", 90), ("legal", 90)]
    for found in figures["routes"]:
        assert found["risk_bound"] <= 0.3
        assert found["risk"] <= found["risk_bound"]


def test_evaluate_and_plot_read_the_policy(logs, policy, tmp_path):
    result = invoke("evaluate", "--outcomes", logs / "new.jsonl", "--policy", policy)
    assert "cheaper than always-large" in result.output
    assert "…" not in result.output
    figures = json.loads(invoke("evaluate", "--outcomes", logs / "new.jsonl", "--policy", policy, "--json").stdout)
    assert figures["all"]["rows"] == 120
    invoke("plot", "--outcomes", logs / "new.jsonl", "--policy", policy, "--out", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_rows_of_the_fit_are_pointed_out(logs, policy):
    result = invoke("evaluate", "--outcomes", logs / "fit.jsonl.gz", "--policy", policy)
    assert "fitted on these very rows" in result.output


def test_where_every_route_is_refused_the_policy_escalates_all_and_the_command_fails(logs, tmp_path):
    command = ["fit", "--outcomes", str(logs / "hard.jsonl"), "--out", str(tmp_path / "policy.json")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DataError)
    assert "refused, escalates all" in result.output
    assert all(route.threshold is None for route in read(tmp_path / "policy.json").routes)


def test_a_refusal_says_whether_labels_would_help(logs, tmp_path):
    write_attempts(attempts(60, routes=("few",), small_right=1.0), tmp_path / "few.jsonl")
    write_attempts(attempts(200, routes=("hopeless",), small_right=0.0), tmp_path / "hopeless.jsonl")
    told = {}
    for name in ("few", "hopeless"):
        command = ["fit", "--outcomes", str(tmp_path / f"{name}.jsonl"), "--out", str(tmp_path / "policy.json")]
        told[name] = CliRunner().invoke(app, command).output.replace("\n", " ")
    assert "cannot be told yet whether 5.0% can be kept: it has 60 labelled rows; label more, about" in told["few"]
    assert "(rough)" in told["few"]
    assert "every threshold's risk is above 5.0%: more labels would not help" in told["hopeless"]


def test_a_budget_takes_its_prices_from_the_settings(logs, tmp_path):
    command = ("fit", "--outcomes", logs / "fit.jsonl.gz", "--out", tmp_path / "policy.json", "--budget-usd", "0.1")
    result = invoke(*command, "--config", "demo")
    assert result.exit_code == 0
    assert "no risk is promised" in result.output
    assert read(tmp_path / "policy.json").provenance.budget_usd == 0.1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["fit", "--outcomes", "{log}", "--out", "{out}", "--route", "legal"], 2, "is no target of a route"),
        (["fit", "--outcomes", "{log}", "--out", "{out}", "--route", "leagl=.1"], 1, "No row has the route 'leagl'"),
        (["fit", "--outcomes", "{log}", "--out", "{out}", "--alpha", "2"], 1, "The alpha is 2"),
        (["fit", "--outcomes", "{log}", "--out", "{out}", "--target", "best"], 2, "best"),
        (["fit", "--outcomes", "{log}", "--out", "{out}", "--decide", "full", "--checkpoint", "8"], 2, "--checkpoint"),
        (["fit", "--outcomes", "nosuch.jsonl", "--out", "{out}"], 1, "nosuch.jsonl cannot be read"),
        (["evaluate", "--outcomes", "{log}", "--policy", "nosuch.json"], 1, "Cannot read the cascade policy"),
        (["evaluate", "--outcomes", "{log}", "--policy", "{log}"], 1, "damaged"),
        (["fit", "--outcomes", "{log}"], 2, "--out"),
    ],
)
def test_a_mistake_ends_with_its_code_and_a_sentence(logs, tmp_path, monkeypatch, capsys, arguments, code, sentence):
    words = [word.format(log=logs / "new.jsonl", out=tmp_path / "policy.json") for word in arguments]
    monkeypatch.setattr(sys, "argv", ["headrace", "cascade", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert sentence in capsys.readouterr().err
