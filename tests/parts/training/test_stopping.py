"""Early stopping by itself, and in a run that is killed in the middle."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from serve_app.core import DataError  # noqa: E402  (torch first)
from serve_app.training.dataset import hold_back, read_dataset  # noqa: E402
from serve_app.training.evaluate import EvaluationOptions  # noqa: E402
from serve_app.training.options import TrainingError, TrainOptions  # noqa: E402
from serve_app.training.run import run  # noqa: E402
from serve_app.training.stopping import Stopping  # noqa: E402

OPTIONS = TrainOptions(
    rank=4, alpha=8, learning_rate=0.05, epochs=60, rows_per_step=2, dtype="float32", device="cpu",
    checkpoint_every_steps=7, validate_every_steps=3, patience=4, validation_share=0.3,
)  # fmt: skip
KILLED = """
import os, signal, sys
from pathlib import Path
from serve_app.catalogue import ModelFiles
from serve_app.training.dataset import read_dataset
from serve_app.training.evaluate import EvaluationOptions
from serve_app.training.run import run
from tests.parts.training.test_stopping import OPTIONS

class Watch:
    def stage(self, title, total):
        return lambda num_rows: None
    def step(self, report):
        if report.step == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

base = ModelFiles("tiny-base", Path(sys.argv[1]), "c" * 64)
run(base, read_dataset(Path(sys.argv[2])), Path(sys.argv[3]), OPTIONS, EvaluationOptions(), Watch())
"""


class Silent:
    def stage(self, title, total):
        return lambda num_rows: None

    def step(self, report):
        self.last = report


@pytest.fixture
def rows(tmp_path):
    """Answers that follow no rule: what is learnt of the training rows is wrong for those held back."""
    words = ("sky", "grass", "answer", "question", "the", "is", "now", "please")
    lines = [{"prompt": f"what colour {one} {two}", "completion": "blue" if hash_of(one, two) else "green"}
             for one in words for two in ("yes", "no")]  # fmt: skip
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def hash_of(one, two):
    return (len(one) * 7 + ord(one[0]) + len(two)) % 2


def test_it_stops_after_patience_validations_without_a_lower_loss():
    stopping = Stopping(2)
    for step, loss in ((10, 1.0), (20, 0.5), (30, 0.7)):
        stopping.note(step, loss, {"w": torch.tensor([loss])})
    assert (stopping.best_step, stopping.stopped) == (20, False)
    stopping.note(40, 0.5, {"w": torch.tensor([9.0])})  # equal is not lower
    assert (stopping.best_step, stopping.stopped) == (20, True)
    assert float(stopping.best["w"]) == 0.5


def test_a_loss_that_is_no_number_is_never_the_best():
    stopping = Stopping(2)
    stopping.note(1, float("nan"), {"w": torch.zeros(1)})
    assert (stopping.best_step, stopping.best, stopping.stopped) == (None, None, False)
    stopping.note(2, float("nan"), {"w": torch.zeros(1)})
    assert stopping.stopped


def test_its_state_comes_back():
    stopping = Stopping(1)
    stopping.note(5, 0.5, {"w": torch.ones(2)})
    again = Stopping(1, stopping.validations)
    again.load({"weight/w": torch.zeros(2), **stopping.state()})
    assert again.best_step == 5
    assert again.best["w"].tolist() == [1.0, 1.0]


def test_without_patience_validation_is_only_watched():
    stopping = Stopping(None)
    stopping.note(1, 0.5, {"w": torch.ones(1)})
    stopping.note(2, 0.9, {"w": torch.ones(1)})
    assert (stopping.best, stopping.stopped) == (None, False)


def test_rows_of_one_prompt_are_held_back_together(rows):
    dataset = read_dataset(rows)
    twice = replace(dataset, train=dataset.train * 2)
    split = hold_back(twice, 0.25, seed=1)
    held, kept = {row.messages for row in split.validation}, {row.messages for row in split.train}
    assert not held & kept
    assert (len(split.validation), len(split.train)) == (8, 24)
    with pytest.raises(DataError, match="one prompt only"):
        hold_back(replace(dataset, train=dataset.train[:1]), 0.5, seed=1)


def test_patience_without_validation_rows_is_refused(tiny_base, rows, tmp_path):
    with pytest.raises(TrainingError, match="needs validation rows"):
        run(tiny_base, read_dataset(rows), tmp_path / "a", replace(OPTIONS, validation_share=0.0),
            EvaluationOptions(), Silent())  # fmt: skip


def test_a_killed_run_with_early_stopping_resumes_to_the_same_adapter(tiny_base, rows, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    dataset, watch = read_dataset(rows), Silent()
    trained = run(tiny_base, dataset, whole, OPTIONS, EvaluationOptions(), watch)
    result = trained.result
    assert result.num_steps < result.num_planned_steps, "it stopped early"
    assert result.best_step < result.num_steps
    assert watch.last.validation_loss == result.validations[-1][1]
    kill_at = result.num_steps - 2  # after the best, before the end
    arguments = [tiny_base.path, rows, killed, kill_at]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    again = run(tiny_base, dataset, killed, OPTIONS, EvaluationOptions(), Silent(), resume=True)
    assert again.result.validations == result.validations
    weights = "adapter_model.safetensors"
    assert (whole / weights).read_bytes() == (killed / weights).read_bytes()


def test_the_card_tells_of_validation_and_shows_the_curve(tiny_base, rows, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "a"
    result = run(tiny_base, read_dataset(rows), out, OPTIONS, EvaluationOptions(), Silent()).result
    card = (out / "README.md").read_text()
    assert f"The weights are those of step {result.best_step}, the best in validation; stopped early." in card
    assert "![Learning curve](learning_curve.png)" in card
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["training"]["losses"]) == result.num_steps
    assert metrics["data"]["validation_rows"] == 5
