"""The table of checks, profiles, what breaks, and what machines read."""

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from serve_app.checklist import ChecksTable, Facts, Finding, checks, run
from serve_app.checklist.checks import all_checks
from serve_app.checklist.item import AREAS, worst
from serve_app.checklist.records import Records
from serve_app.checklist.render import as_json, as_junit
from serve_app.checklist.run import passed
from serve_app.cli.main import app
from serve_app.config import profiles
from serve_app.core import ConfigError, DataError
from tests.unit.checklist.conftest import FactsOf


def table_of(finding: Finding | Exception, in_demo: str = "same") -> ChecksTable:
    table = ChecksTable()

    @table.add("cost.budget", "There is a budget", in_demo)  # type: ignore[arg-type]
    async def look(facts: Facts) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return table


@pytest.mark.parametrize(
    ("in_demo", "in_demo_status"), [("same", "fail"), ("warn", "warn"), ("skip", "not_applicable")]
)
async def test_a_demonstration_may_lack_what_production_may_not(
    facts_of: FactsOf, in_demo: str, in_demo_status: str
) -> None:
    table = table_of(Finding.fail("There is none.", "Set one."), in_demo)
    (demo,) = await run(facts_of(profile="demo"), table)
    (production,) = await run(facts_of(), table)
    assert (demo.status, production.status) == (in_demo_status, "fail")
    assert "There is none." in demo.evidence


@pytest.mark.parametrize(
    ("in_demo", "in_demo_status"), [("same", "warn"), ("warn", "warn"), ("skip", "not_applicable")]
)
async def test_a_warning_about_what_makes_no_sense_in_a_demonstration_is_none(
    facts_of: FactsOf, in_demo: str, in_demo_status: str
) -> None:
    table = table_of(Finding.warn("It is small.", "Buy more."), in_demo)
    (demo,) = await run(facts_of(profile="demo"), table)
    (production,) = await run(facts_of(), table)
    assert (demo.status, production.status) == (in_demo_status, "warn")


async def test_a_check_that_gives_no_finding_hides_no_other(facts_of: FactsOf) -> None:
    table = table_of(Finding.good("There is one."))

    @table.add("cost.forgotten", "It forgot to return")
    async def forgotten(facts: Facts) -> Finding:
        return None  # type: ignore[return-value]

    items = await run(facts_of(), table)
    assert [item.status for item in items] == ["pass", "fail"]
    assert "None in the place of a Finding" in items[1].evidence


@pytest.mark.parametrize("error", [DataError("data.jsonl, line 3: no text."), ZeroDivisionError("by zero")])
async def test_a_check_that_cannot_look_fails_and_says_why(facts_of: FactsOf, error: Exception) -> None:
    (item,) = await run(facts_of(), table_of(error))
    assert item.status == "fail"
    assert str(error) in item.evidence
    assert not passed([item])


def test_ids_are_unique_and_of_a_known_area() -> None:
    table = table_of(Finding.good("x"))
    with pytest.raises(ConfigError, match=r"two checks 'cost\.budget'"):
        table.add("cost.budget", "again")(lambda facts: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="no known area"):
        table.add("weather.rain", "It rains")(lambda facts: None)  # type: ignore[arg-type, return-value]


def test_the_worst_of_several_findings_counts_with_all_its_words() -> None:
    findings = [Finding.good("a"), Finding.fail("b", "mend b"), Finding.fail("c", "mend b"), Finding.warn("d", "x")]
    assert worst(findings) == Finding.fail("b c", "mend b")


async def test_machines_read_json_and_junit(facts_of: FactsOf) -> None:
    items = await run(facts_of(), table_of(Finding.fail('<none> & "x"', "Set one.")))
    body = as_json(items, "production")
    assert body["counts"] == {"pass": 0, "warn": 0, "fail": 1, "not_applicable": 0}
    assert set(body["items"][0]) == {"id", "area", "title", "status", "evidence", "fix"}
    suite = ElementTree.fromstring(as_junit(items))
    assert suite.get("failures") == "1"
    assert '<none> & "x"' in (suite.findtext("testcase/failure") or "")


def test_the_newest_record_counts_and_a_broken_one_is_named(facts_of: FactsOf) -> None:
    records = Records(facts_of().folder / "records")
    assert records.latest("backup") is None
    records.write("backup", {"note": "old"}, at_s=1e9)
    records.write("backup", {"note": "new"}, at_s=1.7e9)
    found = records.latest("backup")
    assert found is not None
    assert (found.figures, found.age_days(1.7e9 + 86_400)) == ({"note": "new"}, 1.0)
    (records.folder / "backup-broken.json").write_text("{")
    with pytest.raises(DataError, match=r"backup-broken\.json is no record"):
        records.latest("backup")


@dataclass
class Entry:
    """An entry point of another package."""

    found: object
    name: str = "acme"
    value: str = "acme.checks:TABLE"

    def load(self) -> object:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


async def test_checks_of_another_package_come_last(facts_of: FactsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ChecksTable()

    @table.add("compliance.dpo", "She has agreed")
    async def dpo(facts: Facts) -> Finding:
        return Finding.fail("She has not.", "Ask her.")

    monkeypatch.setattr(checks, "entry_points", lambda group: [Entry(table)] if group == "headrace.checks" else [])
    (item,) = await run(facts_of(), all_checks()[-1:])
    assert (item.id, item.area, item.status) == ("compliance.dpo", "compliance", "fail")


def a_table_with_an_id_of_ours() -> ChecksTable:
    table = ChecksTable()
    table.add("cost.budgets", "Another one")(lambda facts: None)  # type: ignore[arg-type, return-value]
    return table


@pytest.mark.parametrize("found", [ImportError("no module acme"), 7, a_table_with_an_id_of_ours()])
def test_a_package_whose_checks_cannot_be_used_is_named(found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "entry_points", lambda group: [Entry(found)])
    with pytest.raises(ConfigError, match=r"'acme' \(acme\.checks:TABLE\)"):
        all_checks()


def test_there_are_checks_and_each_says_what_it_looks_at() -> None:
    found = all_checks()
    assert [check.area for check in found] == sorted((check.area for check in found), key=AREAS.index)
    assert all(check.title and check.look.__doc__ for check in found)


def test_the_command_prints_json_and_exits_with_one_where_something_fails() -> None:
    runner = CliRunner()
    production = runner.invoke(app, ["check", "--profile", "production", "--area", "security", "--json"])
    demo = runner.invoke(app, ["check", "--profile", "demo", "--area", "security", "--json"])
    assert production.exit_code == 1
    assert demo.exit_code == 0
    assert {item["id"]: item["status"] for item in json.loads(demo.output)["items"]}["security.keys"] == "warn"
    assert runner.invoke(app, ["check", "--area", "weather"]).exit_code == 2
    address = runner.invoke(app, ["check", "--url", "localhost:8000"])
    assert (address.exit_code, "no address of a server" in address.output) == (2, True)


def test_a_record_lies_where_the_check_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    config = tmp_path / "conf" / "s.yaml"
    config.write_text(profiles()["demo"].read_text())
    runner, options = CliRunner(), ["--config", str(config)]
    assert runner.invoke(app, ["record", "backup", "--note", "pg_dump", *options]).exit_code == 0
    assert runner.invoke(app, ["record", "party", "--note", "loud", *options]).exit_code == 2
    assert runner.invoke(app, ["record", "backup", *options]).exit_code == 2
    report = tmp_path / "report.xml"
    found = runner.invoke(app, ["check", "--area", "reliability", "--json", "--junit", str(report), *options])
    assert {item["id"]: item["status"] for item in json.loads(found.output)["items"]}["reliability.backup"] == "pass"
    assert (ElementTree.parse(report).getroot().get("failures"), found.exit_code) == ("4", 1)
    assert (tmp_path / "headrace-records").is_dir(), "relative paths start from the working directory, as for `serve`"
