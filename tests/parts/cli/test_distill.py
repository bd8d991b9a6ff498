"""The commands print what the stages found; models are scripted (see tests/parts/distill)."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli import distill
from serve_app.cli.main import app
from tests.parts.distill.conftest import tiny_base, world
from tests.unit.distill.examples import right

__all__ = ["tiny_base", "world"]


@pytest.fixture
def command(world, monkeypatch):
    """Runs `headrace distill …` on the scripted world."""
    plan = world.folder / "plan.yaml"
    plan.write_text(yaml.safe_dump({"name": "colours"}))
    monkeypatch.setattr(distill, "_pipeline", lambda plan, folder, *rest: world.pipeline(folder.name))

    def invoke(name, *more, run="run"):
        return CliRunner().invoke(app, ["distill", name, str(plan), "--folder", str(world.folder / run), *more])

    return invoke


def test_export_says_what_was_left_out(command):
    found = command("export")
    assert found.exit_code == 0, found.output
    assert "120 escalated queries to learn from." in found.output


def test_train_names_the_version(command):
    assert "trained on" in command("train").output


def test_gate_prints_every_check_and_the_change(command):
    found = command("gate")
    assert found.exit_code == 0, found.output
    assert "passed   better:" in found.output
    assert "escalated 100.0% -> " in found.output


def test_a_version_that_the_gate_refuses_is_exit_code_1(command, world):
    world.learnt = lambda text: "green" if right(text) == "blue" else "blue"
    found = command("run", "--json")
    assert found.exit_code == 1
    figures = json.loads(found.output.splitlines()[-1])
    assert figures["publish"]["published"] is False
    assert "REFUSED  better" in command("gate").output


def test_a_schedule_begins_runs_in_folders_of_their_own_until_it_is_interrupted(command, world, monkeypatch):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    class Clock:
        now_s = 0.0

        def time(self):
            Clock.now_s += 10.0
            return Clock.now_s

    monkeypatch.setattr(distill, "time", type("module", (), {"sleep": staticmethod(sleep), "time": Clock().time}))
    assert command("run", "--every", "30m").exit_code == 130
    assert waits == [1790.0, 1790.0]
    assert {path.name for path in world.folder.iterdir() if path.is_dir()} >= {
        "1970-01-01T000010Z",
        "1970-01-01T000030Z",
    }


def test_a_run_of_a_schedule_that_fails_is_said_and_the_next_one_comes(command, world, monkeypatch):
    (world.folder / "log.jsonl").write_text("")
    monkeypatch.setattr(distill.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    assert "ended: " in command("run", "--every", "1d").output


@pytest.mark.parametrize("text", ["24", "0h", "daily"])
def test_a_duration_that_is_none_is_a_usage_error(command, text):
    assert command("run", "--every", text).exit_code == 2
