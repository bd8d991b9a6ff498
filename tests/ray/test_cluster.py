"""Several nodes: replicas lie where GPU fractions let them, deployments scale apart, a lost node loses no query."""

import asyncio
from typing import Any

import pytest

from bench.cluster.run import Sizes, run

pytestmark = pytest.mark.cluster

SIZES = Sizes(
    warm_s=4.0, burst_s=6.0, kills=(), nodes=("Fallback",), rate=12.0, calm_s=2.0, window_s=6.0, postgres=False
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(run(tmp_path_factory.mktemp("cluster"), SIZES))


def test_three_fractions_of_a_gpu_are_placed_on_two_nodes(measured: dict[str, Any]) -> None:
    placement = measured["placement"]
    assert placement["faults"] == []
    roles = [{"Router", "Specialists", "Fallback"} & set(names) for names in placement["by_node"]]
    assert sorted(map(sorted, filter(None, roles))) == [["Fallback"], ["Router", "Specialists"]]
    assert placement["gpus"] == [0, 0.8, 1]


def test_each_burst_scales_the_deployment_that_feels_it_and_no_other(measured: dict[str, Any]) -> None:
    assert [burst["faults"] for burst in measured["scaling"]["bursts"]] == [[], []]
    assert measured["scaled_independently"]
    assert measured["scaling"]["errors"] == 0


def test_a_lost_node_loses_no_finished_query_and_breaks_only_answers_that_had_begun(measured: dict[str, Any]) -> None:
    (blow,) = measured["blows"]
    assert {"Fallback", "Gateway"} <= set(blow["lost"])
    assert blow["errors_not_begun"] == 0, blow["by_kind"]
    assert measured["errors_outside"] == {}
    assert measured["books"]["is_exact"], measured["books"]
