"""The cluster bench's arithmetic: what a blow did to its clients, where replicas lie, what scaled with what. No Ray."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serve_app.config import load


@pytest.fixture
def bench(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the bench, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return module


@pytest.fixture
def blow(bench: Any) -> Any:
    """Struck at 100 s, after 5 s of calm; ten seconds are counted."""
    return bench("cluster.kills").Blow("kill -9 Gateway", ("Gateway",), 95.0, 100.0, 110.0, 3.0)


def asked(bench: Any, due_s: float, end: str = "finished", ms: float = 100.0, num_words: int = 5) -> Any:
    seen = bench("chaos.tally").Seen("stream", end, "q", num_words, ms=ms, why="cut" if end == "broken" else "")
    return bench("cluster.clients").Asked(due_s, due_s + ms / 1e3, seen)


def steady(bench: Any, **changed: Any) -> list[Any]:
    """Ten requests a second from 95 s to 112 s; `at_…` gives the one due then other fields."""
    instead = {name.removeprefix("at_"): fields for name, fields in changed.items()}
    return [asked(bench, tenth / 10, **instead.get(str(tenth), {})) for tenth in range(950, 1120)]


def test_without_an_error_recovery_takes_no_time(bench: Any, blow: Any) -> None:
    found = bench("cluster.kills").figures(blow, steady(bench))
    assert (found["errors"], found["recovery_s"]) == (0, 0.0)
    assert found["requests"] == 101  # one was under way at the blow
    assert found["ms_before"] == {"p50": 100, "p99": 100, "p100": 100}


def test_an_error_under_way_at_the_blow_counts_and_delays_no_recovery(bench: Any, blow: Any) -> None:
    found = bench("cluster.kills").figures(blow, steady(bench, at_999={"end": "broken", "ms": 150.0}))
    assert (found["errors"], found["errors_not_begun"], found["recovery_s"]) == (1, 0, 0.0)
    assert found["by_kind"] == {"stream, begun: cut": 1}


def test_recovery_ends_with_the_first_second_after_the_last_error(bench: Any, blow: Any) -> None:
    broken = {"end": "broken", "num_words": 0}
    found = bench("cluster.kills").figures(blow, steady(bench, at_1000=broken, at_1030=broken))
    assert (found["errors"], found["errors_not_begun"]) == (2, 2)
    assert found["recovery_s"] == pytest.approx(3.1)
    assert found["outage_error_rate"] == pytest.approx(2 / 32, abs=1e-4)


def test_slow_answers_are_no_recovery(bench: Any, blow: Any) -> None:
    slow = {f"at_{tenth}": {"ms": 900.0} for tenth in range(1000, 1020)}
    assert 1.0 < bench("cluster.kills").recovered_after(blow, steady(bench, **slow)) <= 2.0


def test_answers_that_are_slow_later_are_told_apart_from_recovery(bench: Any, blow: Any) -> None:
    slow = {f"at_{tenth}": {"ms": 900.0} for tenth in range(1040, 1060)}
    found = bench("cluster.kills").figures(blow, steady(bench, **slow))
    assert found["recovery_s"] == 0.0
    assert found["as_fast_after_s"] == pytest.approx(6.5, abs=0.2)


def test_a_graph_that_stays_slow_has_not_recovered_in_its_window(bench: Any, blow: Any) -> None:
    slow = {f"at_{tenth}": {"ms": 900.0} for tenth in range(1000, 1120)}
    assert bench("cluster.kills").recovered_after(blow, steady(bench, **slow)) == 10.0


@pytest.fixture
def placement(bench: Any) -> Any:
    graph = bench("cluster.graph")
    lie = (("Gateway", "head"), ("Specialists", "a"), ("Router", "a"), ("Gateway", "a"), ("Fallback", "b"))
    replicas = tuple(graph.Replica(name, node, pid) for pid, (name, node) in enumerate(lie))
    return graph.Placement(replicas, {"head": 0.0, "a": 0.8, "b": 1.0}, "head")


def test_fractions_that_add_up_are_no_fault(placement: Any) -> None:
    assert placement.faults() == []


def test_other_fractions_are_a_fault_once_nothing_moves(placement: Any) -> None:
    found = replace(placement, gpus={"a": 1.0, "b": 1.0})
    assert found.overbooked() == []
    assert found.faults() == ["Gateway, Router, Specialists take 1 of a GPU and not 0.8"]


def test_a_gpu_taken_twice_or_on_the_head_is_a_fault(bench: Any, placement: Any) -> None:
    more = tuple(bench("cluster.graph").Replica("Specialists", node, 9) for node in ("b", "head"))
    assert replace(placement, replicas=placement.replicas + more).overbooked() == [
        "0.5 GPU taken on the head",
        "1.5 GPU taken on one node",
    ]


def test_the_node_that_holds_most_is_killed_and_never_the_head(bench: Any, placement: Any) -> None:
    kills = bench("cluster.kills")
    assert kills.node_to_kill(placement, "Gateway") == "a"
    with pytest.raises(ValueError, match="empty"):
        kills.node_to_kill(replace(placement, replicas=placement.replicas[:1]), "Gateway")


@pytest.mark.parametrize(
    ("specialists", "fallback", "said"),
    [
        ((1, 3, 1), (1, 1, 1), []),
        ((1, 1, 1), (1, 1, 1), ["Specialists never grew"]),
        ((1, 2, 1), (1, 2, 1), ["Fallback changed too"]),
        ((1, 4, 1), (1, 1, 1), ["Specialists was outside its bounds"]),
    ],
)
def test_what_grew_alone_within_its_bounds(
    bench: Any, specialists: tuple[int, ...], fallback: tuple[int, ...], said: list[str]
) -> None:
    pairs = zip(specialists, fallback, strict=True)
    numbers = [{"Specialists": small, "Fallback": large} for small, large in pairs]
    series = [{"running": one, "kept": one} for one in numbers]
    assert bench("cluster.scaled").strayed("Specialists", series) == said


def test_the_serve_config_is_that_of_the_settings_with_other_bounds(bench: Any, tmp_path: Path) -> None:
    graph, scaled = bench("cluster.graph"), bench("cluster.scaled")
    file = graph.write_settings(tmp_path, "sqlite:///ledger.sqlite3", scaled.SCALING)
    app = graph.application(file, scaled.BOUNDS)
    deployments = {one["name"]: one for one in app["deployments"]}
    assert app["runtime_env"]["env_vars"]["HEADRACE_CONFIG"] == str(file)
    assert deployments["Specialists"]["autoscaling_config"]["max_replicas"] == 3
    assert {name: one["ray_actor_options"]["num_gpus"] for name, one in deployments.items()} == graph.FRACTIONS
    assert load(str(file)).scaling.policy == "headrace"
    json.dumps(app)  # it is sent as a line


def test_the_readme_says_what_a_blow_did(bench: Any) -> None:
    blow = {"what": "kill -9 Ledger", "errors": 1, "requests": 400, "window_s": 15.0, "errors_not_begun": 0}
    series = [{"at_s": float(at_s), "running": {"Fallback": count}} for at_s, count in enumerate((1, 2, 1))]
    found = {
        "cluster": {
            "blows": [blow | {"recovery_s": 0.5, "restored_s": 4.0}],
            "scaling": {"bursts": [{"burst_of": "Fallback", "series": series}]},
            "books": {"answered": 1234, "missing": 0, "duplicate": 0},
        },
        "rolling": {"updates": [{"queries": 50}, {"queries": 70}]},
        "scaled_independently": True,
        "rolling_update_failed": 0,
        "overload": {
            "goodput_at_3x": 1.02,
            "admitted_first_text_ms": {"p50": 480.0, "p99": 1190.0},
            "slo_first_text_s": 2.0,
            "refused_share": 0.67,
            "refused_with_retry_after_share": 1.0,
            "other_failures": 0,
            "settled": {"sent": 1208},
        },
        "overhead": {
            "rate_per_s": 100.0,
            "gateway_overhead_p50_ms": 6.0,
            "gateway_overhead_p50_ms_by_round": [5.5, 6.5],
            "auto_overhead_p50_ms": 9.0,
            "floor_overhead_p50_ms": 3.0,
            "cpu_ms": {"gateway": 3.1},
            "floor_cpu_ms": {"bare": 1.7},
        },
    }
    text = bench("readme_figures.cluster").cluster(found, "two cores")
    assert "| kill -9 Ledger | 1 of 400 in 15.0 s | 0 | 0.5 | 4.0 |" in text
    assert "one for the fallback took these to 1, 2 at 1.0 s, 1 at 2.0 s" in text
    assert "0 of 120 queries failed." in text
    assert "102% of the peak goodput stayed, first text p50 0.48 s and p99 1.19 s (promised 2 s), 67% refused" in text
    assert "an adapter's name 6.00 ms p50 (by round 5.50, 6.50), `auto` 9.00 ms; a bare Serve ingress" in text
    assert text.endswith("gateway 3.10 ms, bare ingress 1.70 ms. two cores.")
