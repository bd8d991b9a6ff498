"""What a replica tells of its queries: spans, a line per query, counts. Never text of a prompt or an answer.

Knows core and settings; knows no Ray and no HTTP. Whoever traces sees the protocols in `tracing`; OpenTelemetry itself
is imported in `otel` only, when traces are on.
"""

from serve_app.telemetry.attributes import route_attributes
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
    "route_attributes",
    "valid_traceparent",
]
