"""The cascade's bench on the recorded outcomes: it runs with no models and no data folder."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from serve_app.training.cascade.outcomes import read_attempts


@pytest.fixture
def bench(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the bench, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.cascade.{name}")

    return module


def test_the_quick_path_writes_what_was_asked_for(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench("curves"), "NUM_FOLDS", 2)
    monkeypatch.setattr(bench("curves"), "BUDGETS", (0.3, 1.0))
    effort = bench("profile").Effort({"right_third": 2, "stated_third": 2}, bootstrap=20, prices=("by_parameters",))
    bench("__main__").main(["--quick", "--json", str(tmp_path / "found.json")], effort)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    for name in ("guarantee_kept", "guarantee_kept_empirical", "accepted_share", "saved", "quality_ours"):
        low, high = found[f"{name}_95"]
        assert low <= found[name] <= high
        assert name in found["what"]
    assert found["quality_target_slack"] == bench("profile").SLACK
    assert found["guarantee_accepting_routes"]
    routes = found["profiles"]["large"]["guarantee"]["stated_third"]["learn_then_test"]["routes"]
    assert {route: row["alpha"] for route, row in routes.items()} == bench("guarantee").STATED
    assert (tmp_path / "found.png").stat().st_size > 0


def test_what_is_saved_is_a_ratio_of_two_means_over_the_same_drawn_queries(bench: Any) -> None:
    curves = bench("curves")
    cost = np.array([0.1, 0.4, 2.5])
    large = curves.Point(np.ones(3), cost, np.ones(3, dtype=bool))
    half = curves.Point(np.ones(3), cost / 2, np.zeros(3, dtype=bool))
    assert curves.summary(half, large, np.random.default_rng(0), 50)["saved_95"] == pytest.approx([0.5, 0.5])


def test_a_question_that_quotes_the_router_or_an_earlier_question_is_dropped(bench: Any) -> None:
    tasks = bench("tasks")
    asked = ["May a tenant keep the deposit?", "may a tenant keep the deposit", "What is a writ?"]
    asked.append("Does it rain? The governing law of this agreement is that of France.")
    rows = [tasks.Task(str(i), "legal", question, "verdict", "yes") for i, question in enumerate(asked)]
    known = ["What is a WRIT", "the governing law of this agreement is that of france", "rain"]
    assert [task.id for task in tasks.fresh(rows, known)] == ["0"]


def test_recorded_rows_are_those_of_questions_that_the_router_was_not_trained_on(bench: Any, data_dir: Path) -> None:
    folder, build = bench("outcomes").OUTCOMES, bench("build")
    asked = build.sample(data_dir, build.COUNTS)
    for profile in build.LARGE_OF:
        rows = read_attempts(folder / f"{profile}.jsonl.gz")
        card = json.loads((folder / f"{profile}.json").read_text(encoding="utf-8"))
        assert {row.id for row in rows} == {task.id for task in asked}
        assert card["questions_sha256"] == build.digest(asked)
        assert sum(card["tasks"].values()) == len(rows)
