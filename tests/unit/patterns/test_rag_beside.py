"""Passages beside the rest: ensembles, and looks behind an answer, see them as the answer's own models do."""

import asyncio

from serve_app.config import EnsembleSettings, RoutesSettings, Settings
from serve_app.core import Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeEngine
from serve_app.passages import with_passages
from serve_app.patterns import Cascade, Configured, DocumentSearch, Node, PatternTable, Single, Trace
from serve_app.patterns.shadow import CanaryAnswer, CanaryShadow, Mirror, Mirrored, Shadows
from tests.unit.scripted_retriever import ScriptedRetriever, passage

ASKED = (Message("user", "How long is a patent valid?"),)
WITH = with_passages(ASKED, [passage()])
QUERY = Query("q1", "rag", SamplingParams(), ASKED)


class Legal:
    async def score(self, conversation):
        return RouteScore("legal", 0.9, {"legal": 0.9})


class Shown:
    """A rule that accepts, and notes how well passages fitted."""

    checkpoints = ()

    def __init__(self):
        self.scores = []

    def before(self, route):
        return None

    def judge(self, evidence, adapter_version):
        self.scores.append(evidence.passage_score)


async def never(*texts):
    return 1.0


async def until_quiet(shadows):
    async with asyncio.timeout(30):
        while shadows.num_running:  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0)


def settings(**rag):
    prices = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
    return Settings.model_validate(
        {
            "specialists": {"model": "small"},
            "fallback": {"model": "large"},
            "rag": rag,
            "prices": {"version": "t", "models": {"small": prices, "large": prices}},
        }
    )


async def ask_ensemble(model, **rag):
    """What members are asked, and the account, where the ensemble answers the route."""
    engine = FakeEngine(default="yes", adapters={"legal": "v1"})
    node = Node("specialists", "small", engine, adapters=Configured(("legal",)))
    members = EnsembleSettings(members=[{"model": "base"}, {"model": "legal"}], routes=("legal",), early_stop=False)
    search = DocumentSearch(ScriptedRetriever(), settings(**rag), has_large=False)
    routes = RoutesSettings(adapters={"legal": "legal"})
    pattern = PatternTable(node, routes, Legal(), search=search, ensemble=members).find(model)
    trace = Trace(QUERY)
    await pattern.prepare(QUERY, trace)
    text = "".join([delta.text async for delta in pattern.run(QUERY, trace, 0)])
    return text, [call.messages for call in engine.calls], trace


async def test_members_of_a_routes_ensemble_are_asked_with_passages():
    for model, rag in (("rag", {}), ("auto", {"routes": {"legal": "law"}})):
        text, asked, trace = await ask_ensemble(model, **rag)
        assert (text, asked) == ("yes", [WITH, WITH]), model
        assert trace.answer().outcome == "accepted"
        assert trace.sources.passages == (passage(),)


async def test_without_documents_of_its_route_an_ensemble_is_asked_as_ever():
    _, asked, trace = await ask_ensemble("auto")
    assert (asked, trace.sources) == ([ASKED, ASKED], None)


async def test_a_mirrored_draft_is_judged_with_the_passages_fit():
    shadows, rule, small = Shadows(4, 60), Shown(), FakeEngine(default="small")
    large = Node("fallback", "large", FakeEngine(default="large"))
    cascade = Cascade(Node("specialists", "small", small), large, rule)
    answerer = Mirrored(Single(large), Mirror(1.0, shadows, cascade, never, lambda report: None))
    trace = Trace(QUERY)
    trace.passage_score = 0.75
    async for _ in answerer.answer(Query("q1", "rag", SamplingParams(), WITH), trace, None, 0):
        pass
    await until_quiet(shadows)
    assert (rule.scores, small.calls[0].messages) == ([0.75], WITH)


async def test_the_live_version_beside_a_canary_is_judged_with_the_passages_fit():
    shadows, rule = Shadows(4, 60), Shown()
    small = Node("specialists", "small", FakeEngine(default="small", adapters={"legal": "v1"}))
    large = Node("fallback", "large", FakeEngine(default="large"))
    shadow = CanaryShadow(shadows, small, large, Cascade(small, large, rule), never, lambda report: None)

    class Compared:
        def scored(self, canary_score, live_score):
            pass

    answer = CanaryAnswer(QUERY, None, "legal", "v1", "text", judged=True, passage_score=0.5)
    assert shadow.answered(answer, Compared())
    await until_quiet(shadows)
    assert rule.scores == [0.5]
