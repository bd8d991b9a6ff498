"""The page of one replica, end to end, and where else its figures go."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from serve_app.budgets.amount import Amount
from serve_app.budgets.budget import Budget, Meter
from serve_app.budgets.use import BudgetUse
from serve_app.budgets.windows import Span
from serve_app.cache.response_cache import CacheReport
from serve_app.core import LedgerError
from serve_app.gateway import PrometheusMetrics
from serve_app.gateway.readings import budget_readings, cache_readings, recorder_readings, text_readings
from tests.unit.telemetry.memory import MemoryInstruments


def lines(metrics: PrometheusMetrics) -> set[str]:
    page, _ = metrics.exposition()
    return set(page.decode().splitlines())


async def test_an_escalated_query_is_told_in_figures_that_agree_with_its_account(world):
    body = (await world.chat("hard")).json()["headrace"]
    page = set((await world.http.get("/metrics")).text.splitlines())
    assert {
        'headrace_queries_total{model="auto",outcome="accepted",route="general"} 1.0',
        'headrace_tier_queries_total{tier="default"} 1.0',
        'headrace_escalations_total{route="general"} 1.0',
        'headrace_attempts_total{node="specialists",outcome="escalated"} 1.0',
        'headrace_attempts_total{node="fallback",outcome="accepted"} 1.0',
        "headrace_lost_queries_total 0.0",
    } <= page
    costs = [line for line in page if line.startswith("headrace_cost_usd_total{")]
    assert sum(float(line.split()[-1]) for line in costs) == pytest.approx(body["cost_usd"])


async def test_what_goes_to_the_page_goes_to_the_others_too(world):
    elsewhere = MemoryInstruments()
    metrics = PrometheusMetrics(world.services.control, elsewhere)
    metrics.started()
    metrics.finished(await world_account(world))
    metrics.sample()
    assert elsewhere.values["queries", "auto", "general", "accepted"] == 1
    assert elsewhere.values["queries_in_flight",] == 0
    assert elsewhere.values["shadow_ends", "finished"] == 0
    assert elsewhere.observed.keys() == {("first_token_seconds", "auto"), ("query_seconds", "auto")}


async def world_account(world):
    await world.chat("easy")
    (account,) = await world.accounts()
    return account


@dataclass
class Journalled:
    """The state of a recorder, as `readings` sees it."""

    state: str = "behind"
    pending_bytes: int = 4096
    num_pending: int = 12
    num_recorded: int = 100
    num_failed_flushes: int = 3
    num_unrecorded: int = 0
    num_unreplicated: int = 2
    num_unsynced: int = 0
    num_dropped: int = 0


def test_the_journal_is_watched_and_its_totals_only_grow():
    metrics, recorder = PrometheusMetrics(), Journalled()
    metrics.watch(lambda: recorder_readings(recorder))
    assert {
        'headrace_journal_state{state="ok"} 0.0',
        'headrace_journal_state{state="behind"} 1.0',
        'headrace_journal_state{state="full"} 0.0',
        "headrace_journal_bytes 4096.0",
        "headrace_pending_accounts 12.0",
        "headrace_recorded_accounts_total 100.0",
        "headrace_failed_flushes_total 3.0",
        "headrace_unrecorded_queries_total 0.0",
        "headrace_unreplicated_answers_total 2.0",
        "headrace_unsynced_queries_total 0.0",
        "headrace_dropped_accounts_total 0.0",
    } <= lines(metrics)
    recorder.state, recorder.num_pending, recorder.num_recorded, recorder.num_unrecorded = "full", 0, 112, 1
    assert {
        'headrace_journal_state{state="full"} 1.0',
        "headrace_pending_accounts 0.0",
        "headrace_recorded_accounts_total 112.0",
        "headrace_unrecorded_queries_total 1.0",
    } <= lines(metrics)


def test_budgets_texts_and_the_response_cache_are_watched():
    spans = {"day": Span(0, 86_400), "minute": Span(0, 60)}
    meters = [Meter("key", "alice", "day"), Meter("key", "bob", "day"), Meter("key", "bob", "minute")]
    uses = [
        BudgetUse(Budget(meter, 200, None), spans[meter.per], Amount(nusd, 0))
        for meter, nusd in zip([*meters, Meter("total", None, "day")], (150, 50, 10, 20), strict=True)
    ]
    report = CacheReport(3, 1, 9, 10, 4, 0, 0, 10, 5, 2048)
    metrics = PrometheusMetrics()
    metrics.watch(lambda: budget_readings(uses, num_overrun=2))
    metrics.watch(lambda: cache_readings(report, num_repeated=6))
    metrics.watch(lambda: text_readings(SimpleNamespace(num_dropped=7)))
    assert {
        'headrace_budget_used_share{budget="key/day"} 0.75',
        'headrace_budget_used_share{budget="key/minute"} 0.05',
        'headrace_budget_used_share{budget="total/day"} 0.1',
        "headrace_cache_misses_total 9.0",
        "headrace_cache_entries 10.0",
        "headrace_cache_bytes 2048.0",
        "headrace_cache_evictions_total 4.0",
        "headrace_replayed_requests_total 6.0",
        "headrace_budget_overruns_total 2.0",
        "headrace_dropped_texts_total 7.0",
    } <= lines(metrics)


@pytest.mark.parametrize(
    ("state", "when_full", "status"),
    [("ok", "refuse", 200), ("behind", "refuse", 200), ("full", "refuse", 503), ("full", "serve_unrecorded", 200)],
)
async def test_readyz_tells_the_journals_state_and_is_503_only_where_queries_are_refused(
    make_world, state, when_full, status
):
    world = make_world(overrides={"ledger": {"journal": {"when_full": when_full}}})
    recorder = SimpleNamespace(
        state=state, pending_bytes=7, num_pending=2, last_error=LedgerError("The disk is full."), problem=None
    )
    world.services.recorder = recorder
    response = await world.http.get("/readyz")
    body = response.json()
    assert (response.status_code, body["status"]) == (status, "ready" if status == 200 else "not ready")
    assert (body["journal"]["state"], body["journal"]["refuses"]) == (state, status == 503)
    assert (body["journal"]["pending_accounts"], body["journal"]["pending_bytes"]) == (2, 7)
    assert body["journal"]["detail"].endswith("The disk is full.")
    assert body["nodes"] == {"specialists": "ok", "fallback": "ok"}
