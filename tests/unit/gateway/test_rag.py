"""Answers that rest on documents, through a whole gateway: citations, abstention, bills, and what is not kept."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import CollectionNotFound, Message, Query, RetrieverError, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.gateway.purse import Purse, Terms
from serve_app.keys import Key, KeyRecord, KeySnapshot, digest_of
from serve_app.telemetry.otel import OtelTracer
from tests.unit.scripted_retriever import EMPTY, HANGS, TEXT, ScriptedRetriever, found, passage

OTHER = passage("Fees are due each year.", passage_id="p2", document_id="d2", title="Fees", start=0, end=23)
ANSWER = "See [1]: a patent is valid for twenty years. Nothing else."
QUOTE = "a patent is valid for twenty years"
CITED = [
    {
        "index": 1,
        "document": "d1",
        "title": "Patents",
        "collection": "default",
        "source": "patents.md",
        "start": 100,
        "end": 100 + len(TEXT),
        "score": 0.9,
        "quotes": [
            {"answer_start": 9, "answer_end": 9 + len(QUOTE), "start": 100, "end": 100 + len(QUOTE)},
        ],
    },
    {
        "index": 2,
        "document": "d2",
        "title": "Fees",
        "collection": "default",
        "source": "patents.md",
        "start": 0,
        "end": 23,
        "score": 0.9,
        "quotes": [],
    },
]


@pytest.fixture
def make_rag(make_world):
    """A gateway with a retriever that is told what it finds; settings of `rag` by name."""

    def make(*script, small=None, overrides=None, **rag):
        return make_world(
            small=small or FakeEngine(default=ANSWER, adapters={"legal": "v1"}),
            retriever=ScriptedRetriever(script or [found(passage(), OTHER)]),
            overrides={"rag": rag, **(overrides or {})},
        )

    return make


async def account_of(response, events, stream):
    return events(response)[-2]["headrace"] if stream else response.json()["headrace"]


@pytest.mark.parametrize("extra", [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}])
async def test_a_chats_citations_name_every_passage_and_what_is_quoted(make_rag, events, extra):
    response = await make_rag().chat("How long?", model="rag", **extra)
    chunks = events(response)[:-1] if extra else [response.json()]
    assert [("headrace" in chunk) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["headrace"]["citations"] == CITED


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_has_citations_too(make_rag, events, stream):
    body = {"model": "rag", "prompt": "A patent is valid for", "stream": stream}
    response = await make_rag().http.post("/v1/completions", json=body)
    assert (await account_of(response, events, stream))["citations"] == CITED


async def test_of_several_choices_the_first_ones_quotes_are_told(make_rag):
    def script(call):
        return ANSWER if call.call_id.endswith(":0") else "no"

    body = (await make_rag(small=FakeEngine(script)).chat("How long?", model="rag", n=2)).json()
    assert [len(one["quotes"]) for one in body["headrace"]["citations"]] == [1, 0]


async def test_the_large_models_answer_cites_what_it_was_given(make_rag):
    world = make_rag(small=FakeEngine(default=FakeAnswer("I am not sure", logprob=-3.0)))
    world.large.default = ANSWER
    account = (await world.chat("How long?", model="rag")).json()["headrace"]
    assert (account["escalated"], account["citations"]) == (True, CITED)


async def test_other_models_have_no_citations_and_search_nothing(make_rag):
    world = make_rag()
    for model in ("auto", "base", "large", "legal", "router", "cascade"):
        assert "citations" not in (await world.chat(model=model)).json()["headrace"], model
    assert world.retriever.searches == []


async def test_under_auto_a_route_has_its_collection(make_rag):
    world = make_rag(routes={"legal": "law"})
    assert "citations" not in (await world.chat("easy")).json()["headrace"]
    account = (await world.chat("a contract")).json()["headrace"]
    assert (account["route"], len(account["citations"])) == ("legal", 2)
    assert [search.collection for search in world.retriever.searches] == ["law"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_abstention_is_an_accepted_answer_that_no_engine_is_billed_for(make_rag, events, stream):
    world = make_rag(EMPTY, when_weak="abstain")
    response = await world.chat("How long?", model="rag", stream=stream)
    if stream:
        data = events(response)
        assert data[-1] == "[DONE]"
        text = "".join(choice["delta"].get("content", "") for chunk in data[:-1] for choice in chunk["choices"])
        assert data[-2]["choices"][0]["finish_reason"] == "stop"
    else:
        text = response.json()["choices"][0]["message"]["content"]
        assert response.json()["usage"]["total_tokens"] == 0
    assert text == "I found nothing about this in the documents."
    account = await account_of(response, events, stream)
    assert (account["outcome"], account["model"], account["citations"]) == ("accepted", None, [])
    assert {one["node"] for one in account["attempts"]} == {"router", "retriever"}
    assert (account["cost_usd"], account["always_large_usd"], account["saved_usd"]) == (0, 0, 0)
    assert not world.small.calls and not world.large.calls
    [stored] = await world.accounts()
    assert stored.outcome == "accepted"
    assert stored.first_token_ms is not None


async def test_an_abstention_costs_what_router_and_retriever_cost(make_rag):
    tokens = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
    encoder = {"device_usd_per_hour": "3600", "prefill_tokens_per_s": 1, "decode_tokens_per_s": 1}
    models = {"small-model": tokens, "large-model": tokens, "all-minilm-l6-v2": encoder}
    world = make_rag(EMPTY, when_weak="abstain", overrides={"prices": {"version": "t", "models": models}})
    account = (await world.chat("How long?", model="rag")).json()["headrace"]
    costs = {one["node"]: one["cost_usd"] for one in account["attempts"]}
    assert costs == {"router": 0, "retriever": pytest.approx(0.25)}, "a dollar a second"
    assert account["cost_usd"] == pytest.approx(0.25)
    assert account["saved_usd"] == pytest.approx(-0.25)


@pytest.mark.parametrize("error", [RetrieverError("Away."), CollectionNotFound("There is no collection 'default'.")])
async def test_a_failing_retriever_is_a_degraded_answer_or_a_503(make_rag, error):
    world = make_rag(error)
    account = (await world.chat("How long?", model="rag")).json()["headrace"]
    assert account["citations"] == []
    assert account["reason"].endswith(f"the retriever failed: {str(error).rstrip('.')}")
    page = world.services.metrics.exposition()[0].decode()
    assert 'headrace_degraded_answers_total{cause="retriever_failed"} 1.0' in page
    response = await make_rag(error, when_fails="fail").chat("How long?", model="rag")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "retriever_error")
    assert response.json()["error"]["message"] == str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_while_the_retriever_searches_is_billed(make_rag, leaving_client, stream):
    world = make_rag(HANGS, timeout_s=60)
    body = {"model": "rag", "messages": [{"role": "user", "content": "How long?"}], "stream": stream}
    client = leaving_client(world.app, body)
    running = asyncio.create_task(client.run())
    await world.retriever.asked.wait()
    client.leave.set()
    await asyncio.wait_for(running, 30)
    [account] = await world.accounts()
    assert account.outcome == "cancelled"
    assert ("retriever", "cancelled") in [(one.node, one.outcome) for one in account.attempts]
    assert world.services.in_flight.num_queries == 0


async def test_time_that_is_up_while_the_retriever_searches_is_504(make_rag):
    world = make_rag(HANGS, timeout_s=60)
    response = await world.chat("How long?", model="rag", headers={"x-headrace-timeout-s": "0.05"})
    assert response.status_code == 504
    [account] = await world.accounts()
    assert account.outcome == "timed_out"
    assert {one.outcome for one in account.attempts if one.node == "retriever"} <= {"timed_out"}


@pytest.mark.parametrize("retrieval", [found(), EMPTY])
@pytest.mark.parametrize("model", ["rag", "auto"])
async def test_no_answer_that_documents_decide_on_is_given_from_the_cache(make_rag, retrieval, model):
    world = make_rag(retrieval, routes={"legal": "law"}, overrides={"cache": {"enabled": True}})
    for _ in range(2):
        assert (await world.chat("a contract", model=model)).json()["headrace"]["cache"] is None
    assert len(world.retriever.searches) == 2
    assert world.services.cache.report().stored == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_sent_again_gets_its_citations_again(make_rag, stream):
    world = make_rag()
    headers = {"idempotency-key": "order-17"}
    first, again = [await world.chat("How long?", model="rag", stream=stream, headers=headers) for _ in range(2)]
    assert again.content == first.content
    assert b"citations" in again.content
    assert len(world.retriever.searches) == 1


@pytest.mark.parametrize(
    ("script", "when_weak", "num_kept"), [([], "answer", 0), ([EMPTY], "answer", 1), ([EMPTY], "abstain", 0)]
)
async def test_texts_that_rest_on_documents_are_not_captured(make_rag, script, when_weak, num_kept):
    world = make_rag(*script, when_weak=when_weak, overrides={"ledger": {"texts": {"store": True}}})
    await world.chat("How long?", model="rag")
    await world.services.capture.close()
    assert len(world.ledger.texts) == num_kept


async def test_keys_ask_for_rag_as_for_any_model_and_search_as_themselves(make_rag):
    world = make_rag()
    keys = (Key("ada", models=("rag",)), Key("bob", models=("base",)))
    world.ledger.snapshot = KeySnapshot(tuple(KeyRecord(key, digest_of(key.key_id.encode()), 0.0) for key in keys))
    ada, bob = ({"authorization": f"Bearer {name}"} for name in ("ada", "bob"))
    assert (await world.chat("How long?", model="rag", headers=bob)).status_code == 403
    assert (await world.chat("How long?", model="rag", headers=ada)).status_code == 200
    assert [search.key_id for search in world.retriever.searches] == ["ada"]
    listed = (await world.http.get("/v1/models", headers=ada)).json()["data"]
    assert [(one["id"], one["headrace"]["kind"]) for one in listed] == [("rag", "graph")]


@pytest.mark.parametrize(
    ("model", "routes", "extra"),
    [("rag", {}, 700), ("auto", {}, 0), ("auto", {"legal": "law"}, 700), ("base", {"legal": "law"}, 0)],
)
async def test_the_longest_passages_are_set_aside(make_rag, model, routes, extra):
    services = make_rag(routes=routes, passage_tokens=700).services
    asked = []

    class Book:
        def applies_to(self, spender):
            return True

        async def reserve(self, query_id, spender, nusd, tokens):
            asked.append(tokens)

        async def extend(self, query_id, nusd, tokens):
            asked.append(tokens)
            return True

    purse = Purse(Book(), lambda: Terms(services.settings, services.prices, services.table.routes))
    query = Query("q", model, SamplingParams(max_tokens=100), (Message("user", "How long?"),))
    await purse.reserve(query, 1, None)
    await purse.may_escalate(query)
    assert asked == [query.estimated_tokens + extra + 100] * 2


async def test_the_search_has_a_span_without_text(make_rag):
    world, exporter = make_rag(), InMemorySpanExporter()
    world.services.tracer = OtelTracer(TelemetrySettings(sample_share=1.0), "gateway", exporter)
    await world.chat("How long?", model="rag")
    await world.services.tracer.close()
    [span] = [one for one in exporter.get_finished_spans() if one.name == "retrieve"]
    assert span.attributes == {
        "headrace.passages": 2,
        "headrace.fit": 0.8,
        "headrace.collection_version": "v1",
        "headrace.busy_s": 0.25,
    }
