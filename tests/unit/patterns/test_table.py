"""Which names there are, and what each of them does."""

import pytest

from serve_app.config import CascadeSettings, RoutesSettings
from serve_app.core import Message, ModelNotFound, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import CascadeControl, Configured, Node, PatternTable, Trace

ROUTES = RoutesSettings(adapters={"legal": "legal", "chat": "base"})
UNSURE = FakeAnswer("a b c d", logprob=-5.0)


class FixedRouter:
    def __init__(self, label):
        self.label, self.seen = label, []

    async def score(self, conversation):
        self.seen.append(conversation)
        return RouteScore(self.label, 0.9, {self.label: 0.9})


def table(router=None, fallback=True, small=None, **cascade):
    small = small or FakeEngine(default=UNSURE, adapters={"legal": "v1"})
    small_node = Node("specialists", "small", small, adapters=Configured(("legal",)))
    if not fallback:
        return PatternTable(small_node, ROUTES, router)
    large = Node("fallback", "large", FakeEngine(default="large"))
    control = CascadeControl(small_node, large, CascadeSettings(**cascade), lambda name: never_asked, never_told)
    return PatternTable(small_node, ROUTES, router, large, control)


async def never_asked(question, small_answer, large_answer):
    raise AssertionError("nothing is audited here")


def never_told(report):
    raise AssertionError("nothing is audited here")


async def ask(pattern, **fields):
    query = Query("q1", "auto", SamplingParams(), **({"messages": (Message("user", "hi"),)} | fields))
    trace = Trace(query)
    await pattern.prepare(query, trace)
    async for _ in pattern.run(query, trace, 0):
        pass
    return trace.answer()


@pytest.mark.parametrize(
    ("router", "fallback", "names"),
    [
        (None, False, {"base", "legal", "auto"}),
        (None, True, {"base", "legal", "auto", "large", "cascade"}),
        (FixedRouter("legal"), False, {"base", "legal", "auto", "router"}),
        (FixedRouter("legal"), True, {"base", "legal", "auto", "router", "large", "cascade"}),
    ],
)
def test_names_follow_from_the_nodes_that_are_there(router, fallback, names):
    assert set(table(router, fallback).names) == names


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ModelNotFound, match="'nope' does not exist; choose one of: auto, base, legal") as caught:
        table(fallback=False).find("nope")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize(
    ("model", "nodes", "adapter"),
    [
        ("base", ["specialists"], None),
        ("legal", ["specialists"], "legal"),
        ("large", ["fallback"], None),
        ("router", ["router", "specialists"], "legal"),
        ("cascade", ["specialists", "fallback"], None),
        ("auto", ["router", "specialists", "fallback"], "legal"),
    ],
)
async def test_each_name_asks_the_nodes_it_says(model, nodes, adapter):
    account = await ask(table(FixedRouter("legal")).find(model))
    assert [attempt.node for attempt in account.attempts] == nodes
    first = next(attempt for attempt in account.attempts if attempt.role == "answer")
    assert first.adapter == adapter
    assert account.outcome == "accepted"


@pytest.mark.parametrize(("label", "adapter"), [("legal", "legal"), ("chat", None), ("general", None)])
async def test_a_label_leads_to_its_adapter_else_to_the_default(label, adapter):
    account = await ask(table(FixedRouter(label)).find("router"))
    assert (account.route, account.attempts[-1].adapter) == (label, adapter)


async def test_the_router_reads_a_raw_prompt_as_one_user_turn():
    router = FixedRouter("legal")
    await ask(table(router).find("router"), messages=(), prompt="raw")
    assert router.seen == [(Message("user", "raw"),)]


async def test_auto_without_cascade_stops_at_the_small_answer_and_comes_back():
    patterns = table(FixedRouter("legal"), enabled=False)
    assert not (await ask(patterns.find("auto"))).escalated
    patterns.reconfigure(CascadeSettings(enabled=True))
    assert (await ask(patterns.find("auto"))).escalated
    patterns.reconfigure(CascadeSettings(threshold=0.0))
    assert not (await ask(patterns.find("auto"))).escalated


async def test_a_seed_differs_between_choices_and_stays_in_range():
    small = FakeEngine()
    pattern = table(small=small, fallback=False).find("base")
    query = Query("q1", "base", SamplingParams(seed=2**63 - 1), (Message("user", "hi"),))
    trace = Trace(query)
    for index in range(3):
        async for _ in pattern.run(query, trace, index):
            pass
    seeds = [call.sampling.seed for call in small.calls]
    assert len(set(seeds)) == 3
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    assert len({call.call_id for call in small.calls}) == 3


async def test_an_engine_learns_who_asks():
    small = FakeEngine(default=UNSURE, adapters={"legal": "v1"})
    patterns = table(FixedRouter("legal"), small=small)
    await ask(patterns.find("auto"), key_id="ada")
    await ask(patterns.find("base"))
    assert [call.key_id for call in small.calls] == ["ada", None]
