"""What a command writes: never over what it reads, and whole or not at all."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.core.files import write_whole
from serve_app.distill.rows import write_lines

ROW = {"messages": [{"role": "user", "content": "What is a tort?"}]}


def run(*arguments: object) -> tuple[int, str]:
    """Exit code, and the words that were printed, whatever frame and lines they came in."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "400"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_a_file_is_replaced_whole(tmp_path_factory: pytest.TempPathFactory, text: str, private: bool) -> None:
    path = tmp_path_factory.mktemp("whole") / "file"
    path.write_text("what was there before")
    path.chmod(0o640)
    write_whole(path, text, private=private)
    assert path.read_bytes() == text.encode()
    assert mode(path) == (0o600 if private else 0o640)
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_after_an_error_all_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half of a pair: \ud83d")

    def full(*about: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "after")
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("before", ["file"])


def test_a_link_stays_one_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"
    write_whole(tmp_path / "link", "private", private=True)
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_text()) == (False, "after")
    write_whole(Path(os.devnull), "nothing")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "a folder")


def test_peoples_texts_are_for_their_owner_alone(tmp_path: Path) -> None:
    write_lines([{"question": "Mine?"}], tmp_path / "rows.jsonl")
    assert mode(tmp_path / "rows.jsonl") == 0o600


def test_a_log_is_not_written_over(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(ROW) + "\n")
    before = log.read_bytes()
    for command in (
        ("estimate", "--log", log, "--keep", log),
        ("label", "--log", log, "--scorer", "exact", "--out", log),
        ("cache", "pairs", "--questions", log, "--out", log),
        ("router", "gain-train", "--data", log, "--out", tmp_path / "gain", "--held-out", log),
    ):
        code, said = run(*command)
        assert (code, "is what is read" in said) == (2, True), command
    assert log.read_bytes() == before


@pytest.mark.parametrize(("out", "said"), [(".", "is a folder"), ("nowhere/out.jsonl", "is not there; make it first")])
def test_what_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text(json.dumps(ROW) + "\n")
    for command in (
        ("estimate", "--log", "log.jsonl", "--keep", out),
        ("label", "--log", "log.jsonl", "--scorer", "exact", "--out", out),
        ("check", "--junit", out),
    ):
        code, told = run(*command)
        assert (code, said in told) == (2, True), command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("adapters", "add", "n", ".", "--label", "x"), "go with --examples"),
        (("adapters", "train", "--data", "d", "--out", "o", "--passages", "2"), "go with --with-passages"),
        (("adapters", "train", "--data", "d", "--out", "o", "--eval-rows", "0"), "--eval-rows"),
        (("cascade", "fit", "--outcomes", "o", "--out", "p", "--config", "c.yaml"), "--budget-usd only"),
        (("cascade", "fit", "--outcomes", "o", "--out", "p", "--budget-usd", "1", "--joint"), "promises no risk"),
        (("cascade", "fit", "--outcomes", "o", "--out", "p", "--budget-usd", "inf"), "no amount"),
        (("cascade", "fit", "--outcomes", "o", "--out", "p", "--route", "a=.1", "--route", "a=.2"), "given twice"),
        (("router", "train", "--data", "d", "--out", "o", "--floor", ".3", "--false-rejection", ".1"), "not both"),
        (("estimate", "--log", "l", "--url", "http://127.0.0.1:9", "--threads", "2"), "only without --url"),
        (("label", "--log", "l", "--scorer", "numeric", "--out", "o", "--option", "a=1", "--option", "a=2"), "twice"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments: tuple[str, ...], said: str) -> None:
    code, told = run(*arguments)
    assert code == 2
    assert said in told
