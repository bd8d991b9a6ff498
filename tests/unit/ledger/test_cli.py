"""`headrace ledger report`, on a file that a server wrote."""

import json

import pytest
from typer.testing import CliRunner

from serve_app.cli.ledger import app
from serve_app.core import LedgerError


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


def invoke(*arguments: str, width: int = 200):
    return CliRunner().invoke(app, ["report", *arguments], env={"COLUMNS": str(width)})


def test_the_table_has_groups_a_total_and_the_basis(file):
    result = invoke("--ledger", file, "--group-by", "route,model")
    assert result.exit_code == 0
    first_words = [line.split()[0] for line in result.output.splitlines() if line.strip(" ─")]
    assert first_words[-5:-1] == ["route", "legal", "code", "total"]
    assert "measured for 1 queries" in result.output
    assert "Price versions: test-1" in result.output


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


def test_a_missing_file_is_one_sentence_and_makes_no_file(tmp_path):
    result = invoke("--ledger", str(tmp_path / "none.sqlite3"))
    assert isinstance(result.exception, LedgerError)
    assert str(result.exception).startswith(f"There is no database file {tmp_path}/none.sqlite3; start")
    assert list(tmp_path.iterdir()) == []
