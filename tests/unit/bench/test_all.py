"""`make bench` runs every bench, tells how each went, and fails when one failed."""

import io
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench.all import BENCHES, Bench, Ended, Whole, main, run_all, run_one

NOT_BENCHES = {
    "all": "runs the others",
    "load": "asks a server that somebody else runs",
    "readme_figures": "writes what the others measured",
    "report": "shows what the others measured",
    "serve_switches_graph": "a part of serve_switches",
}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def test_every_bench_is_in_the_list(repo: Path) -> None:
    single = {path.stem for path in (repo / "bench").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    folders = {path.parent.name for path in (repo / "bench").glob("*/__main__.py")}
    helpers = single - {bench.name for bench in BENCHES} - NOT_BENCHES.keys()
    assert not {name for name in helpers if "argparse" in (repo / "bench" / f"{name}.py").read_text(encoding="utf-8")}
    assert folders <= {bench.name for bench in BENCHES} | NOT_BENCHES.keys()


def test_the_list_names_what_is_there(repo: Path) -> None:
    for bench in BENCHES:
        single = repo / "bench" / f"{bench.name}.py"
        source = single if single.is_file() else repo / "bench" / bench.name / "__main__.py"
        assert ("--quick" in source.read_text(encoding="utf-8")) is bench.has_quick, bench.name


def test_make_bench_uses_the_list(repo: Path) -> None:
    assert "python -m bench.all" in (repo / "Makefile").read_text(encoding="utf-8")


def test_quick_is_given_to_those_that_have_it() -> None:
    assert Bench("a", has_quick=True).command(quick=True)[1:] == ["-m", "bench.a", "--quick"]
    assert Bench("a", has_quick=True).command(quick=False)[1:] == ["-m", "bench.a"]
    assert Bench("a", has_quick=True, quick_leaves_out=True).command(quick=True)[1:] == ["-m", "bench.a"]
    assert Bench("b", arguments=("--x",)).command(True, ["--y"])[1:] == ["-m", "bench.b", "--x", "--y"]


def test_a_bench_that_writes_its_result_is_done(tmp_path: Path, logs: Path) -> None:
    code = f"print('hello'); open({str(tmp_path / 'a.json')!r}, 'w').write('{{}}')"
    assert run_one(Bench("a"), python(code), logs, tmp_path).outcome == "done"
    assert (logs / "a.log").read_text(encoding="utf-8") == "hello\n"


def test_a_bench_that_writes_nothing_was_skipped_and_says_why(tmp_path: Path, logs: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    found = run_one(Bench("a"), python('print(\'{"skipped": "no data"}\')'), logs, tmp_path)
    assert (found.outcome, found.says) == ("skipped", "no data")
    assert run_one(Bench("a"), python("print('no data')"), logs, tmp_path).says == "no data"
    assert run_one(Bench("a"), python(""), logs, tmp_path).says == "it printed nothing"
    assert run_one(Bench("a", writes=False), python(""), logs, tmp_path).outcome == "done"


def test_figures_of_one_thread_are_taken_with_one(tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for one_thread, told in ((True, "1"), (False, "7")):
        code = python("import os; print(os.environ['OMP_NUM_THREADS'])")
        assert run_one(Bench("a", one_thread=one_thread), code, logs, tmp_path).says == told


def test_a_bench_that_fails_shows_its_last_lines(tmp_path: Path, logs: Path) -> None:
    found = run_one(Bench("a"), python("raise SystemExit('the disk is full')"), logs, tmp_path)
    assert (found.outcome, found.says) == ("failed", "exit status 1\nthe disk is full")


def test_a_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    codes = {"a": "raise SystemExit(3)", "b": f"open({str(tmp_path / 'b.json')!r}, 'w').write('{{}}')"}
    screen = io.StringIO()
    ended = run_all(
        [Bench("a"), Bench("b")],
        lambda bench: python(codes[bench.name]),
        Console(file=screen, width=120),
        tmp_path / "logs",
        tmp_path,
    )
    assert [(one.name, one.outcome) for one in ended] == [("a", "failed"), ("b", "done")]
    assert "exit status 3" in screen.getvalue()


def test_a_run_is_on_record_after_each_bench_and_the_next_tells_how_long_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.all.RUN", tmp_path / "run.json")
    whole = Whole(datetime.now(UTC), {"commit": "abc"}, quick=True)
    kept: list[int] = []

    def keep(ended: Sequence[Ended]) -> None:
        whole.keep(ended)
        kept.append(len(json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["benches"]))

    codes = {name: f"open({str(tmp_path / name)!r} + '.json', 'w').write('{{}}')" for name in ("soak", "engine")}
    benches = [Bench("engine"), Bench("soak")]

    def run() -> None:
        screen = Console(file=io.StringIO())
        run_all(benches, lambda bench: python(codes[bench.name]), screen, tmp_path / "logs", tmp_path, keep)

    run()
    run()
    assert kept == [1, 2, 1, 2]


def test_a_run_is_continued_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.all.RUN", tmp_path / "run.json")
    began_at = datetime(2026, 1, 1, tzinfo=UTC)
    first = Whole(began_at, {"commit": "abc"}, quick=True)
    first.keep([Ended("soak", "done", 12.0), Ended("router", "failed", 1.0)])
    second = Whole.continued(tmp_path / "run.json", quick=True)
    assert [bench.name for bench in second.missing()] == [bench.name for bench in BENCHES if bench.name != "soak"]
    second.keep([Ended("engine", "done", 3.0), Ended("router", "done", 2.0)])
    found = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (found["began_at"], found["commit"]) == (began_at.isoformat(), "abc")
    assert [(row["name"], row["outcome"]) for row in found["benches"]] == [
        ("engine", "done"),
        ("soak", "done"),
        ("router", "done"),
    ]


def test_a_run_is_not_continued_in_another_form_nor_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.all.RUN", tmp_path / "run.json")
    with pytest.raises(SystemExit, match="no run is on record"):
        main(["--continue"])
    Whole(datetime.now(UTC), {"commit": "abc"}, quick=True).keep([])
    with pytest.raises(SystemExit, match="a --quick one"):
        main(["--continue"])


def test_the_list_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(BENCHES)


def test_an_unknown_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
