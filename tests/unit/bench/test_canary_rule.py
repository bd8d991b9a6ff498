"""The simulation of the canary's rule: its rows, its table, and that a short run shows what the rule is for."""

import doctest

import bench.canary_rule
from bench.canary_rule import measure, page_table, show
from serve_app.config.canary import CanarySettings


def test_the_worked_example_is_right() -> None:
    result = doctest.testmod(bench.canary_rule)
    assert (bool(result.attempted), result.failed) == (True, 0)


def test_a_short_run_promotes_the_better_and_withdraws_the_worse() -> None:
    settings = CanarySettings(margin=0.2, min_pairs=20)
    rows = measure(num_trials=2, num_pairs=100, settings=settings)
    by_difference = {row["difference"]: row for row in rows if row["cost_factor"] == row["latency_factor"] == 1}
    assert by_difference[-0.6]["withdrawn"] == 1
    assert by_difference[0.4]["promoted"] == 1
    found = {"rows": rows, "settings": settings.model_dump(), "trials": 2, "pairs": 100, "discordance": 0.2}
    table = page_table(found)
    assert table.count("\n") == len(rows) + 3
    assert "| failures +0.99 | 0.0% | 100.0% |" in table
    assert "median pairs" in show(rows[0])
