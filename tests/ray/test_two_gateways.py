"""Two gateways on one Ray: the figures on Ray's page are those of the service, each gateway's own page is not."""

import concurrent.futures
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from asking import ask, eventually
from conftest import client, settings_file
from launching import Served, launch
from prometheus_client.parser import text_string_to_metric_families

HERE = Path(__file__).parent
ASKED = ["hello there", "unsure what to say", "hello again"] * 12
UNKNOWN_MODELS = 4
WITHIN_S = 45.0
"""A replica sends its figures every second here, every 10 s by default."""

Sums = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def two_gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("two")
    engine = {"engine": "headrace_scripted:engine", "max_rows": 8}
    gateways = {"gateway": {"num_cpus": 0.2, "min_replicas": 2, "max_replicas": 2}}
    config = settings_file(folder, specialists=engine, fallback=engine, deployments=gateways)
    path = os.pathsep.join([str(HERE / "scripted"), os.environ.get("PYTHONPATH", "")])
    environment = {
        "PYTHONPATH": path,
        "HEADRACE_NOTES": str(folder / "notes.txt"),
        "RAY_metrics_report_interval_ms": "1000",
    }
    served = launch("cascade", config, folder / "stderr.log", **environment)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def pages(two_gateways: Served) -> list[str]:
    """Addresses of the pages of Ray's agents, one a node."""
    command = [sys.executable, str(HERE / "ray_pages.py"), two_gateways.ray_address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def summed(pages: list[str], name: str, *labels: str) -> Sums:
    """A metric over all nodes' pages, summed over the labels that are not named."""
    sums: Sums = Counter()
    for page in pages:
        for family in text_string_to_metric_families(httpx.get(page).text):
            for sample in family.samples:
                if sample.name == name:
                    sums[tuple(sample.labels[label] for label in labels)] += sample.value
    return dict(sums)


def tally(accounts: list[dict[str, Any]]) -> dict[str, Sums]:
    """What the clients were told, as the metrics should have it."""
    sums: dict[str, Sums] = {name: Counter() for name in ("queries", "attempts", "tokens", "cost", "large")}
    for account in accounts:
        sums["queries"][account["outcome"],] += 1
        sums["large"][()] += account["always_large_usd"]
        for attempt in account["attempts"]:
            node = attempt["node"]
            sums["attempts"][node, attempt["outcome"]] += 1
            sums["tokens"][node, "prompt"] += attempt["usage"]["prompt_tokens"]
            sums["tokens"][node, "completion"] += attempt["usage"]["completion_tokens"]
            sums["cost"][node,] += attempt["cost_usd"]
    return sums


def test_the_sums_of_two_gateways_agree_with_what_their_clients_were_told(
    two_gateways: Served, pages: list[str]
) -> None:
    def one(number: int) -> dict[str, Any]:
        with client(two_gateways) as connected:  # a connection of its own each time: the proxy spreads them
            if number % 2:
                *_, last = ask(connected, ASKED[number], stream=True)
                return dict(last.headrace)
            return dict(ask(connected, ASKED[number]).headrace)

    def unknown(_: int) -> None:
        with client(two_gateways) as connected, pytest.raises(openai.NotFoundError):
            ask(connected, "hello", model="nobody")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        accounts = list(pool.map(one, range(len(ASKED))))
        list(pool.map(unknown, range(UNKNOWN_MODELS)))
    told = tally(accounts)
    eventually(lambda: summed(pages, "ray_headrace_queries_total") == {(): len(ASKED)}, WITHIN_S)
    assert summed(pages, "ray_headrace_queries_total", "outcome") == told["queries"]
    assert summed(pages, "ray_headrace_attempts_total", "node", "outcome") == told["attempts"]
    assert summed(pages, "ray_headrace_tokens_total", "node", "kind") == told["tokens"]
    assert summed(pages, "ray_headrace_cost_usd_total", "node") == pytest.approx(told["cost"])
    assert summed(pages, "ray_headrace_always_large_usd_total") == pytest.approx(told["large"])
    assert summed(pages, "ray_headrace_query_seconds_count") == {(): len(ASKED)}
    eventually(lambda: summed(pages, "ray_headrace_error_answers_total", "status") == {("404",): UNKNOWN_MODELS})
    savings = summed(pages, "ray_headrace_savings_usd_total", "sign")
    whole = sum(told["large"].values()) - sum(told["cost"].values())
    assert savings.get(("saved",), 0.0) - savings.get(("lost",), 0.0) == pytest.approx(whole)


def test_each_gateway_tells_its_own_state_and_none_of_them_the_whole(two_gateways: Served, pages: list[str]) -> None:
    def states() -> Sums:
        seen = summed(pages, "ray_headrace_journal_state", "replica", "state")
        return seen if len({replica for replica, _ in seen}) == 2 else {}

    assert {value for (_, state), value in eventually(states, WITHIN_S).items() if state == "ok"} == {1.0}
    in_flight = eventually(lambda: summed(pages, "ray_headrace_queries_in_flight", "replica"), WITHIN_S)
    assert set(in_flight.values()) == {0.0}
    own = [summed([f"{two_gateways.url}/metrics"], "headrace_queries_total").get((), 0.0) for _ in range(8)]
    assert 0 < max(own) < len(ASKED)
