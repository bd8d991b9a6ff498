"""What a replica tells of its queries: spans, a line per query, counts. Never text of a prompt or an answer.

    instruments                         all metrics, and where they may go
    counting, prometheus                from events to figures, and one replica's page of them
    tracing, attributes, traceparent    spans, what they say, and the header that ties them together
    otel, make                          spans through OpenTelemetry, where settings ask for it
    engine                              an engine whose calls leave spans
    querylog                            the line

Knows core and settings; knows no Ray and no HTTP. Whoever traces sees the protocols in `tracing`; OpenTelemetry itself
is imported in `otel` only, when traces are on.
"""

from serve_app.telemetry.attributes import retrieval_attributes, route_attributes
from serve_app.telemetry.engine import TracedEngine
from serve_app.telemetry.make import make_tracer
from serve_app.telemetry.querylog import QueryLog
from serve_app.telemetry.traceparent import valid_traceparent
from serve_app.telemetry.tracing import (
    AttemptSpan,
    Attributes,
    NullTracer,
    PassedOn,
    QuerySpan,
    Span,
    Tracer,
)

__all__ = [
    "AttemptSpan",
    "Attributes",
    "NullTracer",
    "PassedOn",
    "QueryLog",
    "QuerySpan",
    "Span",
    "TracedEngine",
    "Tracer",
    "make_tracer",
    "retrieval_attributes",
    "route_attributes",
    "valid_traceparent",
]
