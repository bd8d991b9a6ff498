"""`headrace keys`, on a database of its own."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli.keys import app
from serve_app.core import LedgerError


@pytest.fixture
def run(tmp_path):
    """Runs a sub-command on one database; -> the result."""
    database = str(tmp_path / "keys.sqlite3")

    def invoke(*arguments):
        return CliRunner().invoke(app, [*arguments, "--ledger", database], env={"COLUMNS": "200"})

    return invoke


def listed(run, *arguments):
    return json.loads(run("list", "--json", *arguments).stdout)


def test_a_key_is_printed_once_alone_on_its_output(run):
    result = run("create", "ada")
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert secret.startswith("hr-")
    assert secret not in run("list").output


def test_all_rights_and_limits_can_be_given(run):
    options = ["--admin", "--models", "auto, legal", "--usd-per-day", "2.50", "--tokens-per-day", "1000"]
    more = ["--tokens-per-minute", "50", "--usd-per-month", "30", "--semantic-cache", "--store-texts", "--priority"]
    made = json.loads(run("create", "ada", *options, *more, "--json").stdout)
    assert (made["name"], made["role"], made["key"][:3]) == ("ada", "admin", "hr-")
    (key,) = listed(run)
    assert key["models"] == ["auto", "legal"]
    assert key["limits"] == [
        {"per": "minute", "tokens": 50},
        {"per": "day", "usd": "2.50", "tokens": 1000},
        {"per": "month", "usd": "30"},
    ]
    assert (key["semantic_cache"], key["store_texts"], key["priority"]) == (True, True, True)
    table = run("list").output
    assert "$2.50 and 1,000 tokens a day" in table
    assert "auto, legal" in table


def test_a_revoked_key_is_only_listed_on_demand(run):
    run("create", "ada")
    assert run("revoke", "ada").exit_code == 0
    assert listed(run) == []
    assert "no stored keys" in run("list").output
    assert listed(run, "--all")[0]["revoked_at_s"] > 0
    assert json.loads(run("revoke", "ada", "--json").stdout) == {"name": "ada", "revoked": True}


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "a b"),
        ("create", "ada", "--usd-per-day", "much"),
        ("create", "ada", "--usd-per-day", "0"),
        ("create", "ada", "--usd-per-day", "nan"),
        ("create", "ada", "--tokens-per-day", "0"),
        ("create", "ada", "--tokens-per-day", str(10**16)),
        ("create", "ada", "--models", " , "),
        ("revoke", "nobody"),
    ],
)
def test_what_cannot_be_is_a_usage_error(run, arguments):
    run("create", "first")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert [key["name"] for key in listed(run)] == ["first"]


def test_a_name_is_not_given_twice(run):
    run("create", "ada")
    result = run("create", "ada")
    assert result.exit_code == 2
    assert "exists" in result.output


def test_a_name_of_the_settings_is_not_given(tmp_path, monkeypatch):
    models = {name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"} for name in ("small", "large")}
    settings = {
        "specialists": {"model": "small"},
        "fallback": {"model": "large"},
        "prices": {"version": "v1", "models": models},
        "ledger": {"url": str(tmp_path / "ledger.sqlite3")},
        "gateway": {"api_keys": {"ada": "12345678"}},
    }
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("HEADRACE_CONFIG", str(file))
    result = CliRunner().invoke(app, ["create", "ada"])
    assert result.exit_code == 2
    assert CliRunner().invoke(app, ["create", "bob"]).exit_code == 0


def test_listing_without_a_database_is_one_sentence(run):
    result = run("list")
    assert isinstance(result.exception, LedgerError)


def test_revoking_in_a_mistyped_database_makes_none(tmp_path):
    result = CliRunner().invoke(app, ["revoke", "ada", "--ledger", str(tmp_path / "mistyped.sqlite3")])
    assert result.exit_code == 1
    assert "There is no database file" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
