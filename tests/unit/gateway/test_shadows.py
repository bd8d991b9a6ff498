"""Audits and mirrored queries from end to end: what is recorded, billed and counted."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from serve_app.confidence.policy import write
from serve_app.confidence.watch import RiskTest, RouteReport, SignalWindow, reference_of
from serve_app.config import CascadeSettings
from serve_app.core import ConfigError
from serve_app.engines.fake import FakeEngine
from serve_app.gateway import PrometheusMetrics, Tunables
from tests.unit.confidence.synthetic import policy, route_policy


@pytest.fixture
def policy_file(tmp_path):
    write(policy(route_policy()), tmp_path / "policy.json")
    return tmp_path / "policy.json"


@pytest.fixture
def make_watched(make_world, policy_file):
    """A gateway whose policy accepts the legal adapter's answers."""

    def make(large="the large model says this", **watch):
        cascade = {"policy": str(policy_file), "watch": watch}
        return make_world(large=FakeEngine(default=large), overrides={"cascade": cascade})

    return make


async def ended(world):
    async with asyncio.timeout(10):
        while world.services.control.shadows.num_running:  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0)
    return {account.query_id: account for account in await world.accounts()}


async def page(world):
    return (await world.http.get("/metrics")).text.splitlines()


async def test_an_accepted_answer_is_audited_behind_the_client_and_accounted_apart(make_watched):
    world = make_watched(audit_share=1.0)
    body = (await world.chat("a contract")).json()["headrace"]
    accounts = await ended(world)
    told, audit = accounts[body["query_id"]], accounts[f"{body['query_id']}-audit"]
    assert (told.escalated, [attempt.node for attempt in told.attempts]) == (False, ["router", "specialists"])
    assert (audit.outcome, audit.reason, audit.always_large_nusd) == ("shadow", "audit: score 0.000", 0)
    assert [(attempt.node, attempt.outcome) for attempt in audit.attempts] == [("fallback", "shadow")]
    lines = await page(world)
    saved = (told.always_large_nusd - told.cost_nusd - audit.cost_nusd) / 1e9
    assert audit.cost_nusd > 0
    (line,) = [line for line in lines if line.startswith("headrace_saved_usd ")]
    assert float(line.split()[1]) == pytest.approx(saved)
    assert {
        'headrace_queries_total{model="auto",outcome="accepted",route="legal"} 1.0',
        'headrace_attempts_total{node="fallback",outcome="shadow"} 1.0',
        'headrace_shadows_total{kind="audit",route="legal",verdict="differs"} 1.0',
        'headrace_shadow_ends_total{end="finished"} 1.0',
        'headrace_guarantee_audits{route="legal",verdict="wrong"} 1.0',
        'headrace_guarantee_audits{route="legal",verdict="right"} 0.0',
        'headrace_guarantee_state{route="legal",state="ok"} 1.0',
    } <= set(lines)


async def test_an_audit_counts_in_the_budget_of_all_queries(make_world, policy_file):
    cascade = {"policy": str(policy_file), "watch": {"audit_share": 1.0}}
    budgets = {"total": [{"per": "day", "usd": "1"}], "each_key": [{"per": "day", "usd": "1"}]}
    world = make_world(large=FakeEngine(), overrides={"cascade": cascade, "budgets": budgets})
    body = (await world.chat("a contract")).json()["headrace"]
    accounts = await ended(world)
    told, audit = accounts[body["query_id"]], accounts[f"{body['query_id']}-audit"]
    total, keyless = world.services.budgets.report()
    assert (total.used.nusd, keyless.used.nusd) == (told.cost_nusd + audit.cost_nusd, told.cost_nusd)
    tokens = sum(tried.usage.prompt_tokens + tried.usage.completion_tokens for tried in audit.attempts)
    assert total.used.tokens - keyless.used.tokens == tokens > 0


async def test_agree_at_is_the_same_for_the_audit_and_for_the_count_of_shadows(make_watched):
    world = make_watched(audit_share=1.0, agree_at=0.0)
    await world.chat("a contract")
    await ended(world)
    assert {
        'headrace_shadows_total{kind="audit",route="legal",verdict="agrees"} 1.0',
        'headrace_guarantee_audits{route="legal",verdict="right"} 1.0',
    } <= set(await page(world))


async def test_an_audit_that_cannot_be_scored_is_counted_as_such_and_is_no_failure(make_watched):
    world = make_watched(large=" ", audit_share=1.0, scorer="exact")
    await world.chat("a contract")
    await ended(world)
    assert {
        'headrace_guarantee_audits{route="legal",verdict="not_scored"} 1.0',
        'headrace_guarantee_audits{route="legal",verdict="wrong"} 0.0',
        'headrace_shadow_ends_total{end="finished"} 1.0',
        'headrace_shadow_ends_total{end="failed"} 0.0',
    } <= set(await page(world))


@pytest.mark.parametrize(
    ("text", "verdict", "nodes"), [("a contract", "differs", ["specialists"]), ("easy", "would_escalate", [])]
)
async def test_a_mirrored_query_is_answered_by_the_large_model_and_recorded(make_watched, text, verdict, nodes):
    world = make_watched(mirror_share=1.0)
    body = (await world.chat(text)).json()
    assert body["choices"][0]["message"]["content"] == "the large model says this"
    accounts = await ended(world)
    mirror = accounts[f"{body['headrace']['query_id']}-mirror"]
    assert (mirror.outcome, [attempt.node for attempt in mirror.attempts]) == ("shadow", nodes)
    route = "legal" if nodes else "general"
    assert f'headrace_shadows_total{{kind="mirror",route="{route}",verdict="{verdict}"}} 1.0' in await page(world)


async def test_new_prices_do_not_read_the_policy_again(make_watched, policy_file):
    world = make_watched()
    policy_file.unlink()
    prices = world.services.settings.prices.model_copy(update={"version": "test-2"})
    world.services.reconfigure(Tunables(prices=prices))
    assert (await world.chat("a contract")).json()["headrace"]["price_version"] == "test-2"


async def test_the_cascade_without_router_is_always_large_under_a_policy_of_routed_queries(make_watched):
    account = (await make_watched().chat("a contract", model="cascade")).json()["headrace"]
    assert [attempt["node"] for attempt in account["attempts"]] == ["fallback"]
    assert "the policy knows no route None" in account["reason"]


def test_the_guarantee_is_exported_as_it_is_reported():
    test, window = RiskTest(0.1, 0.05), SignalWindow(reference_of([index / 1000 for index in range(1000)]), 500)
    for index in range(200):
        window.add(index / 200)
    report = RouteReport(
        "drifting", 0.1, 2, 30, 4, 5, 6, 1.5, test.log_alarm, (0.05, 0.3), {"confidence": window.drift()}
    )
    reports = {"legal": report, None: replace(report, state="breached", drift={})}
    ends = {end: number for number, end in enumerate(("finished", "dropped", "timed_out", "failed", "cancelled"))}
    control = SimpleNamespace(report=lambda: reports, shadows=SimpleNamespace(ends=ends))
    text, _ = PrometheusMetrics(control).exposition()
    lines = set(text.decode().splitlines())
    assert {
        'headrace_guarantee_state{route="legal",state="drifting"} 1.0',
        'headrace_guarantee_state{route="legal",state="ok"} 0.0',
        'headrace_guarantee_state{route="none",state="breached"} 1.0',
        'headrace_guarantee_epoch{route="legal"} 2.0',
        'headrace_guarantee_audits{route="legal",verdict="wrong"} 4.0',
        'headrace_guarantee_audits{route="legal",verdict="right"} 26.0',
        'headrace_guarantee_audits{route="legal",verdict="not_scored"} 5.0',
        'headrace_guarantee_audits{route="legal",verdict="stale"} 6.0',
        'headrace_guarantee_log_e_value{route="legal"} 1.5',
        f'headrace_guarantee_log_alarm{{route="legal"}} {test.log_alarm}',
        'headrace_guarantee_risk{bound="target",route="legal"} 0.1',
        'headrace_guarantee_risk{bound="lower",route="legal"} 0.05',
        'headrace_guarantee_risk{bound="upper",route="legal"} 0.3',
        f'headrace_signal_psi{{route="legal",signal="confidence"}} {window.drift().psi}',
        f'headrace_signal_ks{{route="legal",signal="confidence"}} {window.drift().ks}',
        *(f'headrace_shadow_ends_total{{end="{end}"}} {float(number)}' for end, number in ends.items()),
    } <= lines


async def test_a_scorer_that_cannot_be_used_is_refused_and_the_old_one_goes_on(make_watched):
    world = make_watched(audit_share=1.0)
    settings = world.services.settings.cascade.model_dump()
    settings["watch"]["scorer"] = "code"
    with pytest.raises(ConfigError, match=r"cascade.watch.scorer: 'code'"):
        world.services.reconfigure(Tunables(cascade=CascadeSettings.model_validate(settings)))
    await world.chat("a contract")
    await ended(world)
    assert world.services.control.report()["legal"].num_audited == 1
