"""`headrace ledger report`, `export` and `prune`, on a file that a server wrote."""

import json

import pytest
from typer.testing import CliRunner

from serve_app.cli.ledger import app
from serve_app.core import ConfigError, LedgerError


@pytest.fixture
async def file(ledger, book, attempt, answer) -> str:
    """A database with a cheap query and an escalated one."""
    cheap = answer("q1", attempt("small", "accepted", 100, 10), route="code", model="small", created_at_s=1000.0)
    dear = answer(
        "q2", attempt("small", "escalated", 100, 10), attempt("large", "accepted", 90, 20),
        route="legal", model="large", escalated=True, created_at_s=2000.0,
    )  # fmt: skip
    await ledger.record([book.price(cheap), book.price(dear)])
    return ledger.name


def run(*arguments: str, width: int = 200):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})


def invoke(*arguments: str, width: int = 200):
    return run("report", *arguments, width=width)


def test_the_table_has_groups_a_total_and_the_basis(file):
    result = invoke("--ledger", file, "--group-by", "route,model")
    assert result.exit_code == 0
    first_words = [line.split()[0] for line in result.output.splitlines() if line.strip(" ─")]
    assert first_words[first_words.index("route") :][:4] == ["route", "legal", "code", "total"]
    assert "measured for 1 queries" in result.output
    assert "Price versions: test-1" in result.output


def test_hours_are_written_as_times_and_savings_by_where_they_come_from(file):
    result = invoke("--ledger", file, "--group-by", "hour,outcome")
    assert "1970-01-01 00:00" in result.output
    assert "Saved by: cascade" in result.output


def test_a_usual_terminal_gets_latencies_and_no_cut_figure(file):
    result = invoke("--ledger", file, "--group-by", "route", width=120)
    assert "p99" in result.output
    assert "…" not in result.output


def test_one_key_is_told_alone(file):
    assert json.loads(invoke("--ledger", file, "--key", "nobody", "--json").output)["totals"]["queries"] == 0


def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_figure(file):
    result = invoke("--ledger", file, "--group-by", "route,model", width=80)
    assert "0.000018" in result.output
    assert "…" not in result.output
    assert "busy" not in result.output


def test_json_is_what_the_ledger_says(file):
    stats = json.loads(
        invoke("--ledger", f"sqlite:///{file}", "--group-by", "route", "--group-by", "model", "--json").output
    )
    assert [(group["route"], group["model"]) for group in stats["groups"]] == [("legal", "large"), ("code", "small")]
    assert stats["totals"]["cost_usd"] == (2605 + 2605 + 15_000) / 1e9


def test_a_range_is_respected(file):
    stats = json.loads(invoke("--ledger", file, "--since", "1970-01-01T00:20", "--until", "1h", "--json").output)
    assert (stats["since"], stats["totals"]["queries"]) == (1200.0, 1)


@pytest.mark.parametrize("option", [("--since", "yesterday"), ("--group-by", "colour")])
def test_a_bad_option_is_a_usage_error(file, option):
    result = invoke("--ledger", file, *option)
    assert result.exit_code == 2
    assert option[1] in result.output


@pytest.mark.parametrize("command", ["report", "export"])
@pytest.mark.parametrize("period", [["--since", "2026-01-02", "--until", "2026-01-01"], ["--since", "2999-01-01"]])
def test_a_period_that_ends_before_it_begins_is_a_usage_error(file, tmp_path, command, period):
    more = ["--out", str(tmp_path / "out.csv")] if command == "export" else []
    result = run(command, "--ledger", file, *period, *more)
    assert (result.exit_code, "later than --since" in result.output) == (2, True)


def test_a_missing_file_is_one_sentence_and_makes_no_file(tmp_path):
    result = invoke("--ledger", str(tmp_path / "none.sqlite3"))
    assert isinstance(result.exception, LedgerError)
    assert str(result.exception).startswith(f"There is no database file {tmp_path}/none.sqlite3; start")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_made_by_a_command_that_writes(tmp_path):
    result = run("prune", "--ledger", str(tmp_path / "none.sqlite3"), "--days", "1")
    assert isinstance(result.exception, LedgerError)
    assert list(tmp_path.iterdir()) == []


def test_accounts_go_to_a_file(file, tmp_path):
    out = tmp_path / "out.csv"
    result = run("export", "--ledger", file, "--out", str(out), "--rows", "attempts")
    assert (result.exit_code, result.output) == (0, f"3 rows are in {out}.\n")
    assert len(out.read_text().splitlines()) == 4


def test_old_accounts_are_deleted_and_their_totals_are_not(file):
    result = run("prune", "--ledger", file, "--days", "1")
    assert (result.exit_code, result.output) == (0, "2 accounts of 1 days are deleted.\n")
    assert json.loads(invoke("--ledger", file, "--json").output)["totals"]["queries"] == 2


def test_nothing_is_deleted_unless_a_number_of_days_is_given(file):
    result = run("prune", "--ledger", file)
    assert isinstance(result.exception, ConfigError)
    assert "ledger.retention_days is not set" in str(result.exception)
