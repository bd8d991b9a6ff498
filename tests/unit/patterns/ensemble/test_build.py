"""Which settings are an ensemble, which are a mistake, and which model names follow."""

import pytest
from pydantic import ValidationError

from serve_app.config import EnsembleSettings, RoutesSettings, Settings, load
from serve_app.core import ConfigError, Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeEngine
from serve_app.patterns import Configured, Node, PatternTable, Trace

ROUTES = RoutesSettings(adapters={"legal": "legal", "code": "code"})


class FixedRouter:
    async def score(self, conversation):
        label = conversation[-1].content.removesuffix("?")
        return RouteScore(label, 0.9, {label: 0.9, "general": 0.1})


@pytest.fixture
def make_table(stage):
    def make(router=True, fallback=True, **settings):
        engines = stage({"legal": "law", "code": "6", "medical": "6"}, normalise="number")
        small = Node("specialists", "small", engines.small, adapters=Configured(("legal", "code", "medical")))
        large = Node("fallback", "large", FakeEngine(default="large")) if fallback else None
        return PatternTable(
            small, ROUTES, FixedRouter() if router else None, large, ensemble=EnsembleSettings(**settings)
        )

    return make


async def ask(table, model, text="legal"):
    query = Query("q1", model, SamplingParams(), (Message("user", f"{text}?"),))
    trace, pattern = Trace(query), table.find(model)
    await pattern.prepare(query, trace)
    said = "".join([delta.text async for delta in pattern.run(query, trace, 0)])
    return said, trace.answer()


MEMBERS = [{"model": "code"}, {"model": "medical"}]


def test_without_members_there_is_no_model(make_table):
    assert "ensemble" not in make_table().names


async def test_with_members_there_is_one_and_auto_does_not_ask_it(make_table):
    table = make_table(members=MEMBERS)
    assert (await ask(table, "ensemble"))[0] == "6"
    said, account = await ask(table, "auto")
    assert (said, account.adapter) == ("law", "legal")


async def test_routes_say_what_the_ensemble_answers_under_auto(make_table):
    table = make_table(members=MEMBERS, routes=["legal"])
    said, account = await ask(table, "auto")
    assert (said, account.route) == ("6", "legal")
    assert [one.role for one in account.attempts] == ["router", "member", "member"]
    assert (await ask(table, "auto", "code"))[1].attempts[-1].role == "answer"
    assert (await ask(table, "router"))[0] == "law"


async def test_soft_routing_asks_the_router_first(make_table):
    table = make_table(strategy="soft_routing")
    _, account = await ask(table, "ensemble")
    assert account.attempts[0].role == "router"
    assert [one.adapter for one in account.attempts[1:]] == ["legal", None]


async def test_new_routes_reach_soft_routing(make_table):
    table = make_table(strategy="soft_routing")
    table.reroute(RoutesSettings(adapters={"legal": "medical"}))
    assert [one.adapter for one in (await ask(table, "ensemble"))[1].attempts[1:]] == ["medical", None]


@pytest.mark.parametrize(
    ("settings", "nodes", "message"),
    [
        ({"strategy": "soft_routing"}, {"router": False}, "no router"),
        ({"members": [{"model": "base"}, {"model": "large"}]}, {"fallback": False}, r"ensemble\.members\[1\]\.model"),
        ({"members": MEMBERS, "escalate_below": 0.5}, {"fallback": False}, r"ensemble\.escalate_below"),
    ],
)
def test_what_the_graph_lacks_is_said_at_the_start(make_table, settings, nodes, message):
    with pytest.raises(ConfigError, match=message):
        make_table(**settings, **nodes)


@pytest.mark.parametrize(
    ("engine", "ensemble", "message"),
    [
        ({"engine": "vllm"}, {"strategy": "soft_routing"}, r"ensemble\.strategy: `soft_routing`"),
        ({"max_rows": 2}, {"members": [{"model": "base", "samples": 3, "temperature": 1}]}, r"specialists\.max_rows 2"),
        ({"adapter_slots": 1}, {"members": [{"model": "legal"}, {"model": "code"}]}, r"2 adapters .*adapter_slots 1;"),
        (
            {"adapter_slots": 1},
            {"strategy": "soft_routing"},
            r"least_weight: 3 adapters .*adapter_slots is 1",
        ),
        ({"max_rows": 3}, {"strategy": "soft_routing"}, r"ensemble\.least_weight: 4 .*max_rows is 3"),
    ],
)
def test_what_the_small_engine_cannot_do_is_refused(engine, ensemble, message):
    demo = load("demo").model_dump(mode="json")
    demo["specialists"] |= engine
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(demo | {"ensemble": ensemble})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": [{"model": "auto"}]}, "can be no adapter's name"),
        ({"members": [{"model": "No Such"}]}, "can be no adapter's name"),
        ({"members": [{"model": "base", "samples": 3}]}, "need a temperature above 0"),
        ({"members": MEMBERS, "quorum": 3}, "quorum 3 is more than the members' 2 answers"),
        ({"routes": ["legal"]}, "there are no members"),
        ({"members": MEMBERS, "scorer": "math:sqrt"}, "scorer is for `best_of_n`"),
        ({"members": MEMBERS, "strategy": "average", "deadline_s": 1}, "deadline_s needs answers to compare"),
        ({"members": MEMBERS, "strategy": "average", "escalate_below": 0.5}, "escalate_below needs answers to compare"),
        ({"members": [{"model": "large"}], "strategy": "average"}, "shares no step"),
        ({"members": [{"model": "base", "temperature": 0.5}], "strategy": "average"}, "draw the same token"),
        ({"members": MEMBERS, "strategy": "soft_routing"}, "leave members out"),
        ({"strategy": "soft_routing", "quorum": 2}, "quorum: one adapter answers alone"),
        ({"strategy": "soft_routing", "least_weight": 1e-310}, "least_weight"),
        ({"members": [{"model": "base", "weight": 1e308}]}, "members.0.weight"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        EnsembleSettings(**settings)


def test_samples_of_the_large_model_fit_its_rows():
    demo = load("demo").model_dump(mode="json")
    demo["fallback"] |= {"max_rows": 2}
    samples = {"model": "large", "samples": 3, "temperature": 1}
    with pytest.raises(ValidationError, match=r"3 answers do not fit fallback\.max_rows 2"):
        Settings.model_validate(demo | {"ensemble": {"members": [samples]}})
