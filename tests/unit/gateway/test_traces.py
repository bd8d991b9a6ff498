"""The trace and the log line of a query through the whole gateway."""

import logging

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.config.telemetry import TelemetrySettings
from serve_app.telemetry import QueryLog
from serve_app.telemetry.otel import OtelTracer

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def traced(make_world):
    """A gateway that traces every query, and its spans in the order in which they began."""
    exporter = InMemorySpanExporter()
    world = make_world()
    world.services.tracer = OtelTracer(TelemetrySettings(sample_share=1.0), "gateway", exporter)

    async def spans() -> list[ReadableSpan]:
        await world.services.tracer.close()
        return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time)

    world.spans = spans
    return world


async def test_an_escalated_query_is_one_trace_from_the_gateway_to_the_ledger(traced):
    body = (await traced.chat("hard")).json()["headrace"]
    root, *steps = await traced.spans()
    assert root.name == "chat auto"
    assert [span.name for span in steps] == ["route", "chat small-model", "chat large-model", "record"]
    assert {span.parent.span_id for span in steps} == {root.context.span_id}
    assert root.attributes["headrace.query_id"] == body["query_id"]
    assert root.attributes["headrace.cost_usd"] == pytest.approx(body["cost_usd"])
    assert [span.attributes.get("headrace.outcome") for span in steps] == [None, "escalated", "accepted", None]
    used = sum(span.attributes.get("gen_ai.usage.output_tokens", 0) for span in steps)
    assert used == sum(attempt["usage"]["completion_tokens"] for attempt in body["attempts"])


async def test_a_clients_trace_reaches_the_engines(traced):
    message = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
    await traced.http.post("/v1/chat/completions", json=message, headers={"traceparent": HEADER})
    spans = await traced.spans()
    assert {f"{span.context.trace_id:032x}" for span in spans} == {HEADER[3:35]}
    (call,) = traced.small.calls
    (attempt,) = [span for span in spans if span.name == "chat small-model"]
    assert call.traceparent == f"00-{HEADER[3:35]}-{attempt.context.span_id:016x}-01"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_streamed_query_leaves_the_spans_of_a_whole_one(traced, stream):
    await traced.chat("easy", stream=stream)
    assert [span.name for span in await traced.spans()] == ["chat auto", "route", "chat small-model", "record"]


async def test_a_client_that_leaves_ends_the_trace_as_cancelled(traced, leaving_client):
    body = {"model": "base", "messages": [{"role": "user", "content": "easy"}], "stream": True}
    traced.small.token_s = 0.01
    await leaving_client(traced.app, body, leave_after=2).run()
    root, call = await traced.spans()
    assert {span.attributes["headrace.outcome"] for span in (root, call)} == {"cancelled"}
    assert all(span.status.is_ok for span in (root, call))


async def test_the_query_is_one_line_in_the_log_that_its_id_finds(make_world, caplog):
    world = make_world()
    world.services.query_log = QueryLog(TelemetrySettings(), logging.getLogger("test.replica"))
    with caplog.at_level(logging.INFO, logger="test.replica"):
        query_id = (await world.chat("a contract")).json()["headrace"]["query_id"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "test.replica"]
    assert line.startswith(f"query {query_id} accepted ")
    assert " route=legal " in line and "contract" not in line
