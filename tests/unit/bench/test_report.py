"""The report says what the result files hold: met, not met, not measured, and never a guess."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.report.files import write
from bench.report.outcome import Verdict, outcome_of, report
from bench.report.page import page, reach
from bench.report.table import table
from bench.report.target import (
    Beside,
    Bound,
    NotThere,
    Section,
    Target,
    Unit,
    above,
    at,
    at_least,
    at_most,
    below,
    exactly,
    worked,
)
from bench.report.targets import SECTIONS, UNMEASURED

MACHINE = {
    "command": "python -m bench.fake --quick",
    "commit": "abc1234",
    "taken_at": "2026-01-02T03:04+00:00",
    "processor": "one",
    "cores": 2,
    "load_1min_before": 3.5,
}
FAST = Target("fast", "as fast as asked", "fake", at("speed", "ours"), at_least(2), Unit.TIMES, main=True)
LEFT_OUT = {"vllm-base-1", "vllm-base-8", "vllm-base-32", "vllm-mixed-8"}
"""Their peer needs an environment of its own, so a run may be without."""
PARTS = {"retrieval-p50", "retrieval-chunks", "recall-hybrid", "best-small"}
"""`bench.rag --only` may have measured some of these."""


def written(folder: Path, **files: Any) -> Path:
    for name, found in files.items():
        (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def test_targets_have_names_of_their_own_and_say_what_they_are() -> None:
    targets = [target for section in SECTIONS for target in section.targets]
    assert len({target.name for target in targets}) == len(targets)
    assert all(target.says and target.measured.says for target in targets)
    assert all(one.says and one.why for one in UNMEASURED)


def test_every_target_is_found_in_its_result_file(repo: Path) -> None:
    results = repo / "bench" / "results"
    missing = {
        outcome.target.name: outcome.why
        for outcome in report(SECTIONS, results).outcomes
        if outcome.verdict is Verdict.NOT_MEASURED and outcome.run is not None
    }
    assert missing.keys() <= LEFT_OUT | PARTS, missing


def test_every_run_says_when_and_where_it_was(repo: Path) -> None:
    for run in report(SECTIONS, repo / "bench" / "results").runs:
        assert run.taken_at and run.processor and run.load is not None, run.results


def test_the_report_is_that_of_the_result_files(repo: Path) -> None:
    results = repo / "bench" / "results"
    kept = (results / "report.html").read_text(encoding="utf-8")
    assert kept == page(report(SECTIONS, results)), "run: python -m bench.readme_figures"
    assert (results / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("bound", "measured", "verdict"),
    [
        (at_least(2), 2.0, Verdict.MET),
        (at_least(2), 1.99, Verdict.NOT_MET),
        (above(2), 2.0, Verdict.NOT_MET),
        (at_most(2), 2.0, Verdict.MET),
        (below(2), 2.0, Verdict.NOT_MET),
        (below(2), 1.0, Verdict.MET),
        (exactly(0), 0, Verdict.MET),
        (exactly(0), 1, Verdict.NOT_MET),
        (exactly(1), True, Verdict.MET),
        (None, 7.0, Verdict.REPORTED),
    ],
)
def test_a_figure_is_held_against_its_bound(bound: Bound | None, measured: float, verdict: Verdict) -> None:
    found = outcome_of(replace(FAST, bound=bound), {"machine": MACHINE, "speed": {"ours": measured}})
    assert found.verdict is verdict


def test_a_peer_of_the_same_run_can_be_the_bound() -> None:
    target = replace(FAST, bound=above(at("speed", "theirs")))
    found = outcome_of(target, {"speed": {"ours": 3.0, "theirs": 2.5}})
    assert (found.verdict, found.asked, found.compared_with) == (Verdict.MET, "> 2.50 ×", "speed › theirs")
    without = outcome_of(target, {"speed": {"ours": 3.0}})
    assert (without.verdict, without.asked) == (Verdict.NOT_MEASURED, "> speed › theirs")


@pytest.mark.parametrize("found", [{}, {"speed": {}}, {"speed": None}, {"speed": 3}, {"speed": {"ours": None}}])
def test_what_the_file_does_not_hold_is_not_measured(found: Any) -> None:
    outcome = outcome_of(FAST, found)
    assert (outcome.verdict, outcome.measured) == (Verdict.NOT_MEASURED, None)
    assert "fake.json does not hold" in outcome.why


def test_a_missing_file_is_not_measured(tmp_path: Path) -> None:
    found = report([Section("Fake", (FAST,))], tmp_path)
    assert [one.why for one in found.outcomes] == ["there is no fake.json"]
    assert found.period is None


def test_a_mistake_in_a_target_is_not_taken_for_a_missing_figure() -> None:
    wrong = replace(FAST, measured=worked("wrong", lambda speed: speed.nothing, at("speed")))
    with pytest.raises(AttributeError):
        outcome_of(wrong, {"speed": {}})


def test_a_peer_that_was_not_run_is_left_out() -> None:
    beside = (Beside("theirs", at("speed", "theirs"), Unit.TIMES), Beside("PEFT", at("speed", "peft"), Unit.TIMES))
    found = outcome_of(replace(FAST, beside=beside), {"speed": {"ours": 3, "peft": 1.5}})
    assert found.beside == (("PEFT", "1.50 ×"),)


@pytest.mark.parametrize(("interval", "unsure"), [([1.5, 3.5], True), ([2.1, 3.5], False), ([1.0, 1.9], False)])
def test_a_target_inside_the_interval_is_marked(interval: list[float], unsure: bool) -> None:
    target = replace(FAST, interval=at("speed", "between"))
    assert outcome_of(target, {"speed": {"ours": 2.5, "between": interval}}).is_unsure is unsure


@pytest.mark.parametrize(
    ("bound", "measured", "doublings"),
    [
        (at_least(2), 4, 1.0),
        (at_most(2), 4, -1.0),
        (below(2), 0, 3.0),
        (at_least(2), 0, -3.0),
        (at_least(2), 1e9, 3.0),
        (exactly(0), 0, None),
        (at_least(-0.02), 0.01, None),
        (above(0), 5, None),
        (None, 5, None),
    ],
)
def test_bars_tell_how_far_from_the_target(bound: Bound | None, measured: float, doublings: float | None) -> None:
    assert reach(outcome_of(replace(FAST, bound=bound), {"speed": {"ours": measured}})) == doublings


def test_the_page_escapes_what_files_and_targets_say(tmp_path: Path) -> None:
    evil = {**MACHINE, "command": "<script>alert(1)</script>", "processor": "a & b"}
    written(tmp_path, fake={"machine": evil, "speed": {"ours": 3}})
    html = page(report([Section("Fake", (replace(FAST, says="<b>fast</b>"),))], tmp_path))
    assert "<script>" not in html and "<b>fast</b>" not in html
    assert "&lt;script&gt;alert(1)" in html and "a &amp; b" in html


def test_the_page_loads_nothing(repo: Path) -> None:
    html = page(report(SECTIONS, repo / "bench" / "results"))
    assert not any(part in html for part in ("http://", "https://", "<script", "<link", "<img", "@import", "url("))


def test_figures_of_several_runs_are_said_to_be_so(tmp_path: Path) -> None:
    written(tmp_path, fake={"machine": MACHINE, "speed": {"ours": 3}})
    html = page(report([Section("Fake", (FAST,))], tmp_path))
    assert "not of one run" in html and "02 Jan 2026, 03:04 UTC" in html and "the quick form" in html


@pytest.mark.parametrize(("taken_at", "of_it"), [("2026-01-02T03:04+00:00", True), ("2026-01-01T09:00+00:00", False)])
def test_a_run_of_all_benches_is_told_from_other_times(tmp_path: Path, taken_at: str, of_it: bool) -> None:
    whole = {
        "began_at": "2026-01-02T03:04:30+00:00",
        "ended_at": "2026-01-02T05:00:00+00:00",
        "commit": "a",
        "quick": 0,
    }
    written(tmp_path, run=whole, fake={"machine": {**MACHINE, "taken_at": taken_at}, "speed": {"ours": 3}})
    found = report([Section("Fake", (FAST,))], tmp_path)
    assert found.is_of_whole_run(found.runs[0]) is of_it
    assert ('<small class="note">another time</small>' in page(found)) is not of_it


def test_both_files_are_written_and_the_table_has_every_target(tmp_path: Path, repo: Path) -> None:
    found = write(repo / "bench" / "results", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.png"]
    console = Console(width=200, record=True, quiet=True)
    console.print(table(found))
    assert table(found).row_count == len(found.outcomes) + len(found.sections)


def test_at_does_not_look_into_texts() -> None:
    with pytest.raises(NotThere):
        at("a", "b")({"a": "text with b"})
