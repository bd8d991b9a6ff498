"""Spans as an OpenTelemetry exporter gets them: names, parents, attributes, sampling, errors."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Answer, Attempt, Call, Message, Query, RouteScore, SamplingParams, Usage
from serve_app.telemetry import route_attributes, valid_traceparent
from serve_app.telemetry.otel import OtelTracer

SECRET = "where the treasure lies"
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-1] + "0"
SAMPLING = SamplingParams(max_tokens=20, temperature=0.0, stop=(SECRET,))
QUERY = Query("q1", "auto", SAMPLING, (Message("user", SECRET),), key_id="alice")
CALL = Call("q1:specialists:0", SAMPLING, (Message("user", SECRET),), adapter="legal")
ATTEMPT = Attempt("specialists", "small", "legal", "escalated", Usage(12, 8, 5, 0.01), 20.0, "v1", confidence=0.25)
ACCOUNT = Answer(
    "q1",
    0.0,
    "auto",
    "accepted",
    (ATTEMPT,),
    route="legal",
    model="large",
    escalated=True,
    reason="too low",
    first_token_ms=250.0,
    price_version="p1",
    cost_nusd=1500,
    always_large_nusd=2000,
)


class Traced:
    """A tracer and what it exported."""

    def __init__(self, sample_share: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OtelTracer(TelemetrySettings(sample_share=sample_share), "gateway", self._exporter)

    async def spans(self) -> dict[str, ReadableSpan]:
        """By name; the tracer takes no more after that."""
        await self.tracer.close()
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def make_traced() -> Iterator[Callable[..., Traced]]:
    yield Traced


def _parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def test_a_query_with_its_route_calls_and_record_is_one_tree(make_traced):
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    route = query.child("route")
    route.end(route_attributes(RouteScore("legal", 0.9, {"legal": 0.9}, busy_s=0.002)))
    query.attempt("specialists", "small", CALL).end(ATTEMPT)
    large = query.attempt("fallback", "large", replace(CALL, adapter=None))
    large.end(replace(ATTEMPT, node="fallback", model="large", outcome="accepted", adapter_version=None))
    query.child("record").end()
    query.end(ACCOUNT)
    spans = await traced.spans()
    root = spans.pop("chat auto")
    assert (root.parent, root.kind) == (None, SpanKind.SERVER)
    assert set(spans) == {"route", "chat small", "chat large", "record"}
    assert {_parent_id(span) for span in spans.values()} == {root.context.span_id}
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}
    assert spans["chat small"].kind == SpanKind.CLIENT
    assert spans["route"].attributes["headrace.route"] == "legal"
    assert root.resource.attributes["service.name"] == "headrace"


async def test_attributes_follow_the_genai_conventions_and_tokens_are_on_calls_only(make_traced):
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    query.attempt("specialists", "small", CALL).end(ATTEMPT)
    query.end(ACCOUNT)
    spans = await traced.spans()
    call = dict(spans["chat small"].attributes)
    assert call == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "headrace",
        "gen_ai.request.model": "small",
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.response.model": "small",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.output_tokens": 5,
        "headrace.node": "specialists",
        "headrace.adapter": "legal",
        "headrace.adapter_version": "v1",
        "headrace.call_id": "q1:specialists:0",
        "headrace.outcome": "escalated",
        "headrace.role": "answer",
        "headrace.choice_index": 0,
        "headrace.confidence": 0.25,
        "headrace.busy_s": 0.01,
    }
    root = spans["chat auto"].attributes
    assert not [name for name in root if name.startswith("gen_ai.usage.")]
    assert (root["gen_ai.response.id"], root["gen_ai.response.time_to_first_chunk"]) == ("q1", 0.25)
    assert (root["headrace.cost_usd"], root["headrace.always_large_usd"]) == (1.5e-6, 2e-6)
    assert (root["headrace.key"], root["headrace.escalated"]) == ("alice", True)


async def test_no_text_of_prompt_or_stop_strings_is_in_a_span(make_traced):
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    query.attempt("specialists", "small", CALL).end(ATTEMPT)
    query.end(ACCOUNT)
    assert SECRET not in "".join(span.to_json() for span in (await traced.spans()).values())


async def test_an_incoming_trace_goes_on_through_the_gateway_to_the_engine(make_traced):
    traced = make_traced(sample_share=0.0)
    query = traced.tracer.query(replace(QUERY, traceparent=SAMPLED))
    call = query.attempt("specialists", "small", CALL)
    work = traced.tracer.remote("generate", call.traceparent, {"headrace.node": "specialists"})
    work.end()
    call.end(ATTEMPT)
    query.end(ACCOUNT)
    spans = await traced.spans()
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {SAMPLED[3:35]}
    assert f"{_parent_id(spans['chat auto']):016x}" == SAMPLED[36:52]
    assert _parent_id(spans["generate"]) == spans["chat small"].context.span_id


@pytest.mark.parametrize("incoming", [None, NOT_SAMPLED])
async def test_a_query_that_is_not_sampled_keeps_no_span_and_tells_the_engine_so(make_traced, incoming):
    traced = make_traced(sample_share=0.0 if incoming is None else 1.0)
    query = traced.tracer.query(replace(QUERY, traceparent=incoming))
    call = query.attempt("specialists", "small", CALL)
    assert call.traceparent is not None and call.traceparent.endswith("-00")
    assert valid_traceparent(call.traceparent) == call.traceparent
    if incoming:
        assert call.traceparent[:35] == incoming[:35]
    traced.tracer.remote("generate", call.traceparent).end()
    call.end(ATTEMPT)
    query.child("record").end()
    query.end(ACCOUNT)
    assert await traced.spans() == {}


async def test_about_the_share_asked_for_is_sampled(make_traced):
    traced = make_traced(sample_share=0.25)
    kept = [traced.tracer.query(QUERY).traceparent.endswith("-01") for _ in range(2000)]
    await traced.tracer.close()
    assert 380 < sum(kept) < 620  # six standard deviations


@pytest.mark.parametrize(
    ("outcome", "error"), [("failed", "failed"), ("timed_out", "timed_out"), ("cancelled", None), ("escalated", None)]
)
async def test_only_errors_of_the_service_are_errors(make_traced, outcome, error):
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    query.attempt("specialists", "small", CALL).end(replace(ATTEMPT, outcome=outcome))
    query.end(ACCOUNT)
    span = (await traced.spans())["chat small"]
    assert span.attributes.get("error.type") == error
    assert span.status.status_code == (StatusCode.ERROR if error else StatusCode.UNSET)


async def test_the_first_end_counts_and_the_query_ends_what_is_open(make_traced):
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    step = query.child("route")
    step.end(error="EngineError")
    step.end({"headrace.route": "late"})
    query.attempt("specialists", "small", CALL)
    query.end(ACCOUNT)
    query.end(replace(ACCOUNT, outcome="failed"))
    spans = await traced.spans()
    assert spans["route"].attributes == {"error.type": "EngineError"}
    assert spans["chat small"].end_time <= spans["chat auto"].end_time
    assert spans["chat auto"].attributes["headrace.outcome"] == "accepted"


async def test_a_raw_prompt_is_a_text_completion(make_traced):
    traced = make_traced()
    traced.tracer.query(replace(QUERY, messages=(), prompt="Once")).end(ACCOUNT)
    assert set(await traced.spans()) == {"text_completion auto"}


async def test_a_trace_context_that_is_none_begins_a_new_trace(make_traced):
    traced = make_traced()
    traced.tracer.query(replace(QUERY, traceparent="garbage")).end(ACCOUNT)
    assert traced.tracer.remote("generate", "garbage").traceparent is None
    assert (await traced.spans())["chat auto"].parent is None


async def test_the_sdks_own_switch_turns_all_off(make_traced, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traced = make_traced()
    query = traced.tracer.query(QUERY)
    assert query.attempt("specialists", "small", CALL).traceparent is None
    query.end(ACCOUNT)
    assert await traced.spans() == {}
