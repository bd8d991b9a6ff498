"""Spans over a real socket: a small receiver reads what the exporter posts, as a collector would."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Answer, Query, SamplingParams
from serve_app.telemetry import make_tracer, otel

QUERY = Query("q1", "auto", SamplingParams(), prompt="Once")
ACCOUNT = Answer("q1", 0.0, "auto", "accepted", ())


class Collector(ThreadingHTTPServer):
    """Keeps the requests that were posted to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_collector_gets_the_spans_of_a_query(collector):
    settings = TelemetrySettings(traces="otlp", otlp_url=collector.url, sample_share=1.0, service_name="shop")
    tracer = make_tracer(settings)
    query = tracer.query(QUERY)
    query.child("record").end()
    query.end(ACCOUNT)
    await tracer.close()
    (resource,) = [resource for request in collector.requests for resource in request.resource_spans]
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (named["service.name"], named["headrace.component"]) == ("shop", "gateway")
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert set(spans) == {"text_completion auto", "record"}
    assert spans["record"].parent_span_id == spans["text_completion auto"].span_id
    attributes = {one.key: one.value.string_value for one in spans["text_completion auto"].attributes}
    assert attributes["headrace.query_id"] == "q1"


async def test_a_collector_that_is_away_neither_fails_queries_nor_holds_up_the_end(collector, caplog, monkeypatch):
    monkeypatch.setattr(otel, "_CLOSE_TIMEOUT_S", 0.1)
    collector.server_close()  # its port refuses from now on
    tracer = make_tracer(TelemetrySettings(traces="otlp", otlp_url=collector.url, sample_share=1.0))
    for _ in range(600):  # more than a batch
        tracer.query(QUERY).end(ACCOUNT)
    async with asyncio.timeout(30):
        await tracer.close()
    assert "export" in caplog.text
