"""Passages before a question: who is asked with them, and what is done where there are none."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import Settings
from serve_app.core import (
    CollectionNotFound,
    ConfigError,
    EngineError,
    Message,
    Overloaded,
    Query,
    ReplicaLost,
    RequestError,
    RetrieverError,
    RouteScore,
    SamplingParams,
)
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.passages import block, tokens_of
from serve_app.patterns import CascadeControl, Configured, DocumentSearch, Node, PatternTable, Trace
from tests.unit.scripted_retriever import EMPTY, HANGS, ScriptedRetriever, found, passage

UNSURE = FakeAnswer("a b c d", logprob=-5.0)
WEAK = found(fit=0.1)
ASKED = (Message("user", "How long is a patent valid?"),)
WITH_PASSAGE = f"{block([passage()])}\n\nQuestion: {ASKED[0].content}"


class FixedRouter:
    def __init__(self, label="legal"):
        self.label, self.seen = label, []

    async def score(self, conversation):
        self.seen.append(conversation)
        if isinstance(self.label, Exception):
            raise self.label
        return RouteScore(self.label, 0.9, {self.label: 0.9})


class Guard:
    def __init__(self, may=True):
        self.may, self.num_asked = may, 0

    async def may_escalate(self, query):
        self.num_asked += 1
        return self.may


class World:
    """A pattern table over scripted nodes."""

    def __init__(
        self, script=None, *, router=None, large=True, small=None, guard=None, cascade=None, routing=None, **rag
    ):
        prices = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
        self.settings = Settings.model_validate(
            {
                "specialists": {"model": "small"},
                "fallback": {"model": "large"},
                "adapters": {"legal": {"path": "shipped:legal"}},
                "routes": {"adapters": {"legal": "legal"}, **(routing or {})},
                "cascade": cascade or {},
                "rag": rag,
                "prices": {"version": "t", "models": {"small": prices, "large": prices}},
            }
        )
        self.retriever = ScriptedRetriever(script or [found()])
        self.small = small or FakeEngine(default="small", adapters={"legal": "v1"})
        self.large = FakeEngine(default="large")
        small_node = Node("specialists", "small", self.small, adapters=Configured(("legal",)))
        large_node = Node("fallback", "large", self.large) if large else None
        control = None
        if large_node:
            control = CascadeControl(
                small_node, large_node, self.settings.cascade, lambda name: never, never_told, guard
            )
            self.cascade = control.cascade
        search = DocumentSearch(self.retriever, self.settings, large)
        self.table = PatternTable(small_node, self.settings.routes, router, large_node, control, search=search)

    async def ask(self, model="rag", num_choices=1, **fields):
        """The text of the last choice, and the account."""
        query = Query("q1", model, SamplingParams(), **({"messages": ASKED} | fields))
        self.trace = trace = Trace(query)
        pattern = self.table.find(model)
        await pattern.prepare(query, trace)
        for index in range(num_choices):
            text = "".join([delta.text async for delta in pattern.run(query, trace, index)])
        return text, trace.answer()


async def never(question, small_answer, large_answer):
    raise AssertionError("nothing is audited here")


def never_told(report):
    raise AssertionError("nothing is audited here")


def nodes(account):
    return [(one.node, one.outcome) for one in account.attempts]


SMALL_ALONE = [("retriever", "accepted"), ("specialists", "accepted")]


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("router", [FixedRouter(), None])
async def test_the_model_rag_is_auto_with_passages_whatever_else_there_is(router, large):
    world = World(router=router, large=large)
    text, account = await world.ask()
    assert (text, account.outcome, account.requested_model) == ("small", "accepted", "rag")
    [call] = world.small.calls
    assert call.messages == (Message("user", WITH_PASSAGE),)
    assert call.adapter == ("legal" if router else None)
    roles = {one.node: one.role for one in account.attempts}
    assert roles == {"retriever": "retriever", "specialists": "answer"} | ({"router": "router"} if router else {})
    assert world.trace.sources.passages == (passage(),)


def test_without_a_retriever_there_is_no_model_rag():
    world = World()
    assert "rag" in world.table.names
    assert "rag" not in PatternTable(Node("specialists", "small", world.small), world.settings.routes).names


async def test_the_search_says_who_asks_what_and_how():
    world = World(collection="law", mode="text", limit=3, rerank=True)
    turns = (Message("user", "Patents?"), Message("assistant", "Yes."), Message("user", "How long?"))
    await world.ask(messages=turns, key_id="ada")
    [search] = world.retriever.searches
    assert (search.text, search.collection, search.key_id) == ("Patents?\nHow long?", "law", "ada")
    assert (search.mode, search.limit, search.rerank) == ("text", 3, True)


async def test_the_router_reads_the_question_without_passages_and_at_the_same_time():
    router = FixedRouter()

    class Meeting(FixedRouter):
        async def score(self, conversation):
            await world.retriever.asked.wait()
            return await router.score(conversation)

    world = World(router=Meeting())
    await asyncio.wait_for(world.ask(), 10)
    assert router.seen == [ASKED]


async def test_the_large_model_gets_the_passages_too():
    world = World(small=FakeEngine(default=UNSURE, adapters={"legal": "v1"}))
    text, account = await world.ask()
    assert (text, account.escalated) == ("large", True)
    assert world.large.calls[0].messages == (Message("user", WITH_PASSAGE),)


async def test_of_a_raw_prompt_the_passages_come_first():
    world = World()
    await world.ask(messages=(), prompt="A patent is")
    assert world.small.calls[0].prompt == f"{block([passage()])}\n\nA patent is"


async def test_all_choices_share_one_search():
    world = World()
    await world.ask(num_choices=3)
    assert len(world.retriever.searches) == 1
    assert len({call.messages for call in world.small.calls}) == 1


async def test_under_auto_a_routes_collection_is_searched_after_routing():
    world = World(router=FixedRouter("legal"), routes={"legal": "law"})
    _, account = await world.ask("auto")
    assert [search.collection for search in world.retriever.searches] == ["law"]
    assert world.small.calls[0].messages == (Message("user", WITH_PASSAGE),)
    assert nodes(account) == [("router", "accepted"), *SMALL_ALONE]


async def test_without_collections_of_routes_auto_searches_nothing():
    world = World(router=FixedRouter("legal"))
    await world.ask("auto")
    assert world.retriever.searches == []


@pytest.mark.parametrize("router", [FixedRouter("chat"), FixedRouter(EngineError("Away.")), None])
async def test_under_auto_other_labels_and_no_label_search_nothing(router):
    world = World(router=router, routes={"legal": "law"})
    _, account = await world.ask("auto")
    assert world.retriever.searches == []
    assert world.small.calls[0].messages == ASKED
    assert world.trace.sources is None
    assert account.outcome == "accepted"


@pytest.mark.parametrize(
    ("retrieval", "why"), [(WEAK, "retrieval is weak: fit 0.100 < 0.35"), (EMPTY, "nothing was found")]
)
async def test_weak_retrieval_is_answered_without_passages(retrieval, why):
    world = World([retrieval])
    text, account = await world.ask()
    assert text == "small"
    assert world.small.calls[0].messages == ASKED
    assert f"{why}; answered without passages" in account.reason
    assert world.trace.degradations == [], "it was so configured"


@pytest.mark.parametrize("retrieval", [WEAK, EMPTY])
async def test_weak_retrieval_abstains_at_the_cost_of_the_looks(retrieval):
    world = World([retrieval], when_weak="abstain", abstention="Nothing there.", router=FixedRouter())
    text, account = await world.ask(num_choices=2)
    assert (text, account.outcome) == ("Nothing there.", "accepted")
    assert {one.node for one in account.attempts} == {"router", "retriever"}
    assert (account.model, account.adapter, account.escalated) == (None, None, False)
    assert account.reason.endswith("; abstained")
    assert not world.small.calls and not world.large.calls


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("retrieval", [WEAK, EMPTY])
async def test_weak_retrieval_goes_to_the_large_model_at_once_and_without_passages(retrieval, enabled):
    guard = Guard()
    world = World([retrieval], when_weak="escalate", guard=guard, cascade={"enabled": enabled})
    text, account = await world.ask()
    assert (text, account.escalated, account.outcome) == ("large", True, "accepted")
    assert nodes(account) == [("retriever", "accepted"), ("fallback", "accepted")]
    assert world.large.calls[0].messages == ASKED
    assert account.reason.endswith(": no small attempt")
    assert guard.num_asked == 1


async def test_good_retrieval_does_not_escalate_by_itself():
    world = World(when_weak="escalate")
    assert (await world.ask())[0] == "small"


async def test_without_budget_weak_retrieval_gets_the_small_answer():
    world = World([WEAK], when_weak="escalate", guard=Guard(may=False), router=FixedRouter())
    text, account = await world.ask()
    assert (text, account.escalated, account.adapter) == ("small", False, "legal")
    assert "no budget to escalate" in account.reason


async def test_where_the_large_model_fails_weak_retrieval_gets_the_small_answer():
    world = World([WEAK], when_weak="escalate")
    world.large.default = FakeAnswer("large", fail_after=0)
    text, account = await world.ask()
    assert (text, account.outcome) == ("small", "accepted")
    assert "the large model failed" in account.reason


def test_to_escalate_a_graph_needs_a_large_model():
    with pytest.raises(ConfigError, match=r"rag\.when_weak is escalate, and this graph has no fallback"):
        World(large=False, when_weak="escalate")


BROKEN = [
    RetrieverError("The store is away."),
    Overloaded("Full.", 3),
    ReplicaLost("It died."),
    CollectionNotFound("There is no collection 'default'.", "collection"),
    RequestError("The question is empty.", "query"),
]


@pytest.mark.parametrize("error", BROKEN)
@pytest.mark.parametrize("router", [FixedRouter(), None])
async def test_a_failing_retriever_is_as_if_there_was_none(error, router):
    world = World([error], router=router)
    text, account = await world.ask()
    assert (text, account.outcome) == ("small", "accepted")
    assert world.small.calls[0].messages == ASKED
    assert account.reason.endswith(f"the retriever failed: {str(error).rstrip('.')}")
    assert [one.cause for one in world.trace.degradations] == ["retriever_failed"]
    looks = [one for one in account.attempts if one.node == "retriever"]
    assert {one.outcome for one in looks} == {"failed"}
    assert len(looks) == (2 if isinstance(error, ReplicaLost) else 1)
    assert world.trace.passage_score is None


@pytest.mark.parametrize("error", BROKEN)
@pytest.mark.parametrize("router", [FixedRouter(), None])
async def test_a_failing_retriever_is_an_error_where_that_is_configured(error, router):
    world = World([error], router=router, when_fails="fail")
    kind = RetrieverError if isinstance(error, RequestError | ReplicaLost) else type(error)
    with pytest.raises(kind, match=str(error).rstrip(".")):
        await world.ask()
    assert ("retriever", "failed") in nodes(world.trace.answer())


async def test_a_lost_retriever_is_asked_once_more():
    world = World([ReplicaLost("It died."), found()])
    _, account = await world.ask()
    assert nodes(account) == [("retriever", "failed"), *SMALL_ALONE]
    assert world.trace.retried == ["retriever"]
    assert world.small.calls[0].messages == (Message("user", WITH_PASSAGE),)


async def test_a_retriever_that_is_late_is_not_waited_for():
    world = World([HANGS], timeout_s=0.02)
    text, account = await asyncio.wait_for(world.ask(), 30)
    assert text == "small"
    assert "the retriever failed: It did not answer within 0.02 s (rag.timeout_s)" in account.reason


async def test_leaving_while_the_retriever_searches_is_billed():
    world = World([HANGS], router=FixedRouter(), timeout_s=60)
    asking = asyncio.create_task(world.ask())
    await world.retriever.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    account = world.trace.answer()
    assert account.outcome == "cancelled"
    assert sorted(nodes(account)) == [("retriever", "cancelled"), ("router", "accepted")]


async def test_a_router_that_must_not_fail_ends_the_search():
    world = World(
        [HANGS], router=FixedRouter(EngineError("Away.")), routing={"when_router_fails": "fail"}, timeout_s=60
    )
    with pytest.raises(EngineError, match="Away"):
        await asyncio.wait_for(world.ask(), 30)
    assert {one.node: one.outcome for one in world.trace.answer().attempts}["router"] == "failed"
    assert {one.outcome for one in world.trace.answer().attempts if one.node == "retriever"} <= {"cancelled"}


class Shown:
    """A rule that does not know."""

    checkpoints = ()

    def __init__(self):
        self.scores = []

    def before(self, route):
        return None

    def judge(self, evidence, adapter_version):
        self.scores.append(evidence.passage_score)


async def test_the_rule_is_shown_how_well_the_best_passage_fits():
    for retrieval, score in ((found(fit=0.8), 0.8), (WEAK, 0.1), (RetrieverError("Away."), None)):
        world, rule = World([retrieval]), Shown()
        world.cascade.rule = rule
        await world.ask()
        assert rule.scores == [score]


async def test_what_the_search_did_without_is_told():
    world = World([found(remarks=("There is no index yet.",))])
    _, account = await world.ask()
    assert account.reason.endswith("There is no index yet.")


async def test_passages_that_do_not_fit_the_context_are_left_out_and_told():
    world = World([found(passage(num_tokens=5000))])
    _, account = await world.ask()
    assert world.small.calls[0].messages == ASKED
    assert "the passages found do not fit the context" in account.reason


@given(
    st.integers(256, 4096),
    st.integers(256, 4096),
    st.integers(32, 4000),
    st.integers(1, 5000) | st.none(),
    st.integers(1, 6000),
    st.lists(st.integers(1, 900), min_size=1, max_size=8),
)
def test_passages_leave_room_for_question_and_answer_in_both_contexts(
    small, large, most, max_tokens, question_chars, lengths
):
    world = World(passage_tokens=most)
    contexts = {"max_context_tokens": small, "max_tokens": 200}
    settings = world.settings.model_copy(
        update={
            "specialists": world.settings.specialists.model_copy(update=contexts),
            "fallback": world.settings.fallback.model_copy(update={"max_context_tokens": large}),
        }
    )
    query = Query("q1", "rag", SamplingParams(max_tokens), (Message("user", "x" * question_chars),))
    trace = Trace(query)
    retrieval = found(*(passage(num_tokens=length) for length in lengths))
    search = DocumentSearch(ScriptedRetriever([retrieval]), settings, True)
    asyncio.run(search.consult(query, trace, "default"))
    used = sum(tokens_of(one) for one in trace.sources.passages)
    assert used <= most
    if used:
        answer = min(max_tokens or 200, min(small, large) // 2)
        assert used + query.estimated_tokens + answer <= min(small, large)
