"""A few rows through the real models: what the large one answers is learnt, and the gate sees it."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from serve_app import adapters
from serve_app.cli.main import app

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT on transformers 5

THINGS = ["apple", "hammer", "river", "violin", "candle", "tiger", "window", "rocket", "pillow", "garden", "button",
          "castle", "mirror", "ladder", "basket", "island"]  # fmt: skip


def test_a_run_learns_what_the_large_model_said(model_files, tmp_path, monkeypatch):
    base = model_files("smollm2-135m-instruct")
    model_files("qwen2.5-coder-0.5b-instruct")
    monkeypatch.setenv("HEADRACE_CACHE", str(base.path.parent.parent))
    log = [{"id": f"q{index}", "question": f"Say the code word for {thing}.", "large_answer": "zanzibar"}
           for index, thing in enumerate(THINGS)]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    labelled = [{"id": f"l{index}", "question": f"Say the code word for number {index}.", "reference": "zanzibar",
                 "scorer": "exact"} for index in range(100)]  # fmt: skip
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled))
    plan = {
        "name": "word",
        "max_tokens": 6,
        "labelled": "labelled.jsonl",
        "near": {"duplicate": 1.0, "together": 1.0},
        "quality": {"rule": "none"},
        "source": {"log": "log.jsonl", "fewest": 10},
        "train": {"rank": 4, "epochs": 6, "rows_per_step": 8},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = ["distill", "run", str(tmp_path / "plan.yaml"), "--folder", str(tmp_path / "run"), "--json"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout.splitlines()[-1])["gate"]
    assert report["passed"]
    assert report["before"]["escalation"] == 1.0
    assert report["after"]["escalation"] < 0.5
    assert adapters.load(tmp_path / "run" / "train" / "word").version == report["version"]
