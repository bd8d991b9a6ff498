"""The bill adds up: attributed and idle are what was provisioned, and shares are the whole."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from serve_app.cli.bill import bill
from serve_app.cli.reprice import reprice
from serve_app.config import load
from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Attempt, LedgerError, RequestError, Usage
from serve_app.ledger import PriceBook
from serve_app.ledger.bill import Facts, make_bill, read_facts
from serve_app.ledger.bill_rows import GroupUse, HourUse
from serve_app.ledger.provisioned import HOUR_NS, Meter, Provisioned, ReplicaTime, read_provisioned
from serve_app.ledger.shares import shared

MODELS = {"specialists": "small", "fallback": "large"}
S = 10**9
PRICES = {
    "version": "v1",
    "models": {  # a busy second is 1,000,000 and 2,000,000 nano-dollars
        "small": {"replica_usd_per_hour": "3.6", "prefill_tokens_per_s": 1000, "decode_tokens_per_s": 100},
        "large": {"replica_usd_per_hour": "7.2", "prefill_tokens_per_s": 500, "decode_tokens_per_s": 50},
    },
    "replica_usd_per_hour": {"gateway": "0.36"},
}
USES = (
    HourUse(0, "specialists", 900 * S, 999, given_prompt_tokens=500_000, given_completion_tokens=50_000),
    HourUse(0, "fallback", 360 * S, 888, given_prompt_tokens=100_000, given_completion_tokens=8_000),
    HourUse(0, "cache", 0, 0),
)
HOUR = tuple(ReplicaTime(0, name, HOUR_NS) for name in ("specialists", "fallback", "gateway", "router"))


def book(**more) -> PriceBook:
    return PriceBook(PricesSettings.model_validate({**PRICES, **more}), "large")


def test_the_figures_worked_out_by_hand():
    bill = make_bill(book(), MODELS, Facts(0, 3600, HOUR, USES))
    lines = [
        (line.deployment, line.basis, line.provisioned_nusd, line.attributed_nusd, line.idle_nusd)
        for line in bill.lines
    ]
    assert lines == [
        ("fallback", "replicas", 7_200_000_000, 720_000_000, 6_480_000_000),
        ("specialists", "replicas", 3_600_000_000, 900_000_000, 2_700_000_000),
        ("gateway", "replicas", 360_000_000, 0, 360_000_000),
        ("router", "none", 0, 0, 0),
    ]
    assert bill.total_nusd == 11_160_000_000
    # 600,000 / 500 + 58,000 / 50 = 2,360 busy seconds; one replica at 60 % has 2,160
    large = bill.always_large
    assert (large.nusd, large.basis, large.replica_ns, large.most_replicas) == (
        14_400_000_000,
        "replicas",
        2 * HOUR_NS,
        2,
    )


def test_a_service_that_ran_for_part_of_an_hour_needs_the_large_model_for_that_part():
    quarter = (ReplicaTime(0, "specialists", HOUR_NS // 4), ReplicaTime(0, "fallback", HOUR_NS // 4))
    large = make_bill(book(), MODELS, Facts(0, 3600, quarter, USES), Fraction(1)).always_large
    # 2,360 busy seconds in 900 are three replicas, for a quarter of an hour each
    assert (large.most_replicas, large.nusd) == (3, 3 * 7_200_000_000 // 4)


def test_each_hour_has_the_price_in_force_at_its_start():
    later = {"version": "v2", "effective_from": "1970-01-01T00:30", "replica_usd_per_hour": {"gateway": "0.72"}}
    times = [ReplicaTime(hour_s, "gateway", HOUR_NS) for hour_s in (0, 3600)]
    (line,) = make_bill(book(changes=[later]), MODELS, Facts(0, 7200, times)).lines
    assert line.provisioned_nusd == 360_000_000 + 720_000_000


def test_a_deployment_without_a_replica_price_is_billed_by_its_accounts():
    tokens = {name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"} for name in ("small", "large")}
    facts = Facts(0, 3600, HOUR, USES, always_large_nusd={0: 5_000})
    bill = make_bill(book(models=tokens, replica_usd_per_hour={}), MODELS, facts)
    basis = {line.deployment: (line.basis, line.provisioned_nusd, line.idle_nusd) for line in bill.lines}
    assert basis["specialists"] == ("tokens", 999, 0)
    assert basis["gateway"] == ("none", 0, 0)
    assert (bill.always_large.nusd, bill.always_large.basis) == (5_000, "tokens")


def test_more_use_than_was_sampled_is_shown_as_negative_idle_time():
    minute = (ReplicaTime(0, "specialists", 60 * S),)
    line = make_bill(book(), MODELS, Facts(0, 3600, minute, USES[:1])).lines[0]
    assert line.idle_nusd == 60_000_000 - 900_000_000


def test_shares_are_by_busy_time_tokens_and_answers_and_add_up():
    groups = (
        GroupUse("code", "specialists", 600 * S, 0, tokens=300, given_tokens=200),
        GroupUse("legal", "specialists", 300 * S, 0, tokens=100, given_tokens=100),
        GroupUse("legal", "fallback", 360 * S, 0, tokens=50, given_tokens=100),
    )
    bill = make_bill(book(), MODELS, Facts(0, 3600, HOUR, USES, groups=groups))
    shares = {share.name: share for share in bill.shares}
    # specialists 2/3 and 3/4 of idle; the fallback is all legal's; the gateway by answers, half and half
    assert (shares["code"].attributed_nusd, shares["code"].idle_nusd) == (600_000_000, 2_025_000_000 + 180_000_000)
    assert shares["legal"].attributed_nusd == 300_000_000 + 720_000_000
    assert sum(share.attributed_nusd + share.idle_nusd for share in bill.shares) == bill.total_nusd
    assert [share.always_large_nusd for share in bill.shares] == [7_200_000_000] * 2


@given(total=st.integers(-(10**12), 10**12), weights=st.lists(st.integers(0, 10**9), min_size=1))
def test_parts_add_up_and_each_is_within_one_of_its_due(total, weights):
    parts = shared(total, weights)
    whole = sum(weights)
    assert sum(parts) == (total if whole else 0)
    assert all(abs(part * whole - total * weight) < whole for part, weight in zip(parts, weights, strict=True) if whole)


@given(counts=st.lists(st.tuples(st.integers(1, 59 * S), st.integers(0, 3)), max_size=200))
def test_the_meter_loses_no_nanosecond_between_counts(counts):
    meter, now_ns, expected, last = Meter(), 0, 0, 0
    meter.count(0, {})
    for step_ns, num_replicas in counts:
        now_ns, expected = now_ns + step_ns, expected + last * step_ns
        meter.count(now_ns, {"fallback": num_replicas})
        last = num_replicas
    times = meter.take()
    assert sum(time.replica_ns for time in times) == expected
    assert all(time.replica_ns <= 3 * HOUR_NS and time.hour_s % 3600 == 0 for time in times)
    assert meter.take() == []


def test_time_that_nobody_counted_is_not_made_up():
    meter = Meter(max_gap_s=60)
    meter.count(0, {"fallback": 1})
    meter.count(61 * S, {"fallback": 1})
    meter.count(60 * S, {"fallback": 1})  # the clock was set back
    assert meter.take() == []


@pytest.fixture
async def filled(ledger):
    """An hour of replicas and four accounts: two of route code, an audit of one of them, and one of the next hour."""
    await Provisioned(ledger.store).add(
        [ReplicaTime(0, "specialists", HOUR_NS // 2), ReplicaTime(0, "fallback", 5 * S)]
    )
    await Provisioned(ledger.store).add([ReplicaTime(0, "specialists", HOUR_NS // 2)])
    prices = book()

    def account(query_id, created_at_s, outcome, *attempts):
        route = None if outcome == "shadow" else "code"
        return prices.price(Answer(query_id, created_at_s, "auto", outcome, attempts, route=route))

    def tried(node, model, outcome, usage, role="answer"):
        return Attempt(node, model, None, outcome, usage, 1.0, role=role)

    draft = tried("specialists", "small", "escalated", Usage(100, 0, 5, 0.25))
    await ledger.record(
        [
            account("q1", 10.0, "accepted", tried("specialists", "small", "accepted", Usage(100, 0, 10, 0.5))),
            account("q2", 3599.9, "accepted", draft, tried("fallback", "large", "accepted", Usage(90, 0, 20, 2.0))),
            account("q3", 20.0, "shadow", tried("fallback", "large", "shadow", Usage(90, 0, 20, 1.0), "shadow")),
            account("q4", 3600.0, "accepted", tried("specialists", "small", "accepted", Usage(1, 0, 1, 9.0))),
        ]
    )
    return ledger


async def test_facts_are_read_by_full_hours(filled):
    facts = await read_facts(filled.store, 5.0, 3599.5, "route")
    assert (facts.since_s, facts.until_s, facts.pruned_days) == (0, 3600, 0)
    assert list(facts.provisioned) == [ReplicaTime(0, "fallback", 5 * S), ReplicaTime(0, "specialists", HOUR_NS)]
    assert sorted((use.node, use.busy_ns) for use in facts.uses) == [("fallback", 3 * S), ("specialists", 750_000_000)]
    given_tokens = {use.node: (use.given_prompt_tokens, use.given_completion_tokens) for use in facts.uses}
    assert given_tokens == {"specialists": (100, 10), "fallback": (90, 20)}
    tokens = {(use.group, use.node): (use.tokens, use.given_tokens) for use in facts.groups}
    assert tokens == {
        ("code", "specialists"): (215, 110),
        ("code", "fallback"): (110, 110),
        (None, "fallback"): (110, 0),
    }
    assert len((await read_facts(filled.store, 0.0, 3600.5)).uses) == 3


async def test_of_an_ensemble_one_answer_was_given_and_all_members_are_charged(ledger):
    def members(query_id, outcome, **ends):
        attempts = [
            Attempt("specialists", "small", None, end, Usage(100, 0, tokens), 1.0, role="member")
            for end, tokens in ends.items()
        ]
        return book().price(Answer(query_id, 10.0, "ensemble", outcome, tuple(attempts)))

    whole = members("q1", "accepted", accepted=10, counted=40, cancelled=3)
    left = members("q2", "cancelled", cancelled=7)
    await ledger.record([whole, left])
    [use] = (await read_facts(ledger.store, 0.0, 3600.0)).uses
    assert (use.given_prompt_tokens, use.given_completion_tokens) == (100, 10)
    assert use.cost_nusd == whole.cost_nusd + left.cost_nusd


async def test_a_bad_group_and_a_closed_database_are_errors(filled):
    with pytest.raises(RequestError, match="cannot be shared by 'colour'"):
        await read_facts(filled.store, 0.0, 1.0, "colour")
    assert await filled.store.read(lambda connection: read_provisioned(connection, 3600, 7200)) == []
    await filled.close()
    with pytest.raises(LedgerError):
        await read_facts(filled.store, 0.0, 1.0)
    with pytest.raises(LedgerError):
        await Provisioned(filled.store).add([ReplicaTime(0, "x", 1)])


@pytest.fixture
def invoke():
    app = Typer()
    app.command()(reprice)
    app.command()(bill)
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})


RANGE = ("--since", "1970-01-01", "--until", "1970-01-01T01:00")


def test_the_bill_as_json_and_as_a_table(filled, invoke):
    made = json.loads(invoke("bill", *RANGE, "--ledger", filled.name, "--group-by", "route", "--json").output)
    assert made["sampled_hours"] == 1.0
    hour_usd = float(load().prices.models[load().specialists.model].replica_usd_per_hour)
    assert made["deployments"][0]["provisioned_usd"] == hour_usd
    assert made["total_usd"] == pytest.approx(made["attributed_usd"] + made["idle_usd"])
    assert sum(group["attributed_usd"] + group["idle_usd"] for group in made["groups"]) == pytest.approx(
        made["total_usd"]
    )
    shown = invoke("bill", *RANGE, "--ledger", filled.name, "--group-by", "route").output
    assert "specialists" in shown
    assert "Replicas were counted in 1.00 of 1 hours." in shown
    assert "at most 1 replicas at once, busy for 60 % of their time" in shown
    assert invoke("bill", *RANGE, "--ledger", filled.name, "--group-by", "colour").exit_code == 2


def test_the_comparison_as_json_and_as_a_table(filled, invoke, tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text(json.dumps({"prices": {**PRICES, "version": "half", "flex_factor": 1}}))
    options = ("reprice", "--prices", str(file), "--large", "large", "--ledger", filled.name)
    found = json.loads(invoke(*options, *RANGE, "--json").output)
    assert (found["totals"]["accounts"], found["versions"]) == (3, {"half": 3})
    assert found["totals"]["cost_usd"] == found["totals"]["repriced_cost_usd"] > 0
    shown = invoke(*options, "--save").output
    assert "Other prices: half (4)." in shown
    assert "Saved as" in shown
    mistyped = invoke(*options[:-1], str(tmp_path / "none.sqlite3"), "--save")
    assert isinstance(mistyped.exception, LedgerError)
    assert not (tmp_path / "none.sqlite3").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[]", "must hold"), ("version: a\nversion: b", "given twice"), ("version: a", "`models` is missing")],
)
def test_a_bad_price_file_is_one_sentence(invoke, tmp_path, text, problem):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    result = invoke("reprice", "--prices", str(file))
    assert problem in str(result.exception)
    missing = invoke("reprice", "--prices", str(tmp_path / "none.yaml"))
    assert "cannot be read" in str(missing.exception)
