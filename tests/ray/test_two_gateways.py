"""Two gateways on one Ray: the figures on Ray's page are those of the service, each gateway's own page is not."""

import concurrent.futures
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agents import Sums, pages_of, summed
from asking import ask, eventually
from conftest import client, settings_file
from launching import Served, launch

HERE = Path(__file__).parent
ASKED = ["hello there", "unsure what to say", "hello again"] * 12
UNKNOWN_MODELS = 4
WITHIN_S = 45.0
"""A replica sends its figures every second here, every 10 s by default."""


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
    return pages_of(two_gateways.ray_address)


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


def reaches(pages: list[str], name: str, wanted: Sums, *labels: str) -> None:
    """Wait for a metric to have these sums: those of one moment are not all sent at once."""
    found: list[Sums] = []

    def equal() -> bool:
        found.append(summed(pages, f"ray_headrace_{name}", *labels))
        return bool(found[-1] == pytest.approx(wanted))

    try:
        eventually(equal, WITHIN_S)
    except AssertionError:
        raise AssertionError(f"{name}: {found[-1]}, and not {wanted}") from None


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
    reaches(pages, "queries_total", {(): len(ASKED)})
    reaches(pages, "queries_total", told["queries"], "outcome")
    reaches(pages, "attempts_total", told["attempts"], "node", "outcome")
    reaches(pages, "tokens_total", told["tokens"], "node", "kind")
    reaches(pages, "cost_usd_total", told["cost"], "node")
    reaches(pages, "always_large_usd_total", told["large"])
    reaches(pages, "query_seconds_count", {(): len(ASKED)})
    reaches(pages, "error_answers_total", {("404",): UNKNOWN_MODELS}, "status")
    whole = sum(told["large"].values()) - sum(told["cost"].values())

    def saved() -> bool:
        savings = summed(pages, "ray_headrace_savings_usd_total", "sign")
        return bool(savings.get(("saved",), 0.0) - savings.get(("lost",), 0.0) == pytest.approx(whole))

    eventually(saved, WITHIN_S)


def test_each_gateway_tells_its_own_state_and_none_of_them_the_whole(two_gateways: Served, pages: list[str]) -> None:
    def both_well() -> bool:
        seen = summed(pages, "ray_headrace_journal_state", "replica", "state")
        return [value for (_, state), value in seen.items() if state == "ok"] == [1.0, 1.0]

    eventually(both_well, WITHIN_S)
    eventually(lambda: set(summed(pages, "ray_headrace_queries_in_flight", "replica").values()) == {0.0}, WITHIN_S)
    own = [summed([f"{two_gateways.url}/metrics"], "headrace_queries_total").get((), 0.0) for _ in range(8)]
    assert 0 < max(own) < len(ASKED)
