"""Which tracer settings give, and what one costs that keeps nothing."""

import pytest

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Answer, Attempt, Call, ConfigError, Query, SamplingParams, Usage
from serve_app.telemetry import NullTracer, make, make_tracer

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUERY = Query("q1", "auto", SamplingParams(), prompt="Once", traceparent=HEADER)
CALL = Call("q1:specialists:0", SamplingParams(), prompt="Once")


async def test_without_traces_everything_is_accepted_and_the_clients_context_passed_on():
    tracer = make_tracer(TelemetrySettings())
    assert isinstance(tracer, NullTracer)
    query = tracer.query(QUERY)
    attempt = query.attempt("specialists", "small", CALL)
    assert query.traceparent == attempt.traceparent == HEADER
    attempt.end(Attempt("specialists", "small", None, "accepted", Usage(), 1.0))
    query.child("route", {"headrace.route": "legal"}).end(error="EngineError")
    tracer.remote("generate", HEADER).end()
    query.end(Answer("q1", 0.0, "auto", "accepted", ()))
    await tracer.close()


def test_traces_without_the_extra_are_an_error_that_names_key_and_extra(monkeypatch):
    monkeypatch.setattr(make, "_EXPORTER", "opentelemetry_that_is_not_there.exporter")
    with pytest.raises(ConfigError, match=r"telemetry.traces.*headrace\[telemetry\]"):
        make_tracer(TelemetrySettings(traces="otlp"))


def test_an_address_that_is_none_is_named():
    with pytest.raises(ConfigError, match=r"telemetry\.otlp_url is 'collector:4318'"):
        make_tracer(TelemetrySettings(traces="otlp", otlp_url="collector:4318"))
