"""Spans through the OpenTelemetry SDK, to a collector over OTLP/HTTP. The only module that imports OpenTelemetry.

Sampling is decided once a query, at its first span, and travels in `traceparent`: a trace is whole or is not there.
A span that is not kept costs a trace id and nothing more. Kept ones are sent off by a thread of the SDK; its queue is
bounded, and a collector that is away loses spans, never queries.
"""

from __future__ import annotations

import asyncio
import threading

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serve_app import __version__
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Answer, Attempt, Call, Query
from serve_app.telemetry.attributes import (
    account_attributes,
    attempt_attributes,
    call_attributes,
    error_of,
    operation,
    query_attributes,
)
from serve_app.telemetry.traceparent import parts, traceparent, valid_traceparent
from serve_app.telemetry.tracing import AttemptSpan, Attributes, PassedOn, QuerySpan, Span

_SEND_EVERY_MS, _MAX_QUEUE, _MAX_BATCH = 1000, 4096, 512
_EXPORT_TIMEOUT_S, _CLOSE_TIMEOUT_S = 3, 4.0
_MAX_VALUE_LENGTH = 1000


class OtelTracer:
    """Implements `Tracer`. Several live in one process: nothing global is touched."""

    def __init__(self, settings: TelemetrySettings, component: str, exporter: SpanExporter | None = None) -> None:
        """`component` names the replica's deployment; without `exporter` spans go to `settings.otlp_url`."""
        resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": __version__,
                "headrace.component": component,
            }
        )
        self._exporter = exporter or OTLPSpanExporter(settings.otlp_url, timeout=_EXPORT_TIMEOUT_S)
        processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=_MAX_QUEUE,
            schedule_delay_millis=_SEND_EVERY_MS,
            max_export_batch_size=_MAX_BATCH,
        )
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample_share)),
            resource=resource,
            span_limits=SpanLimits(max_span_attribute_length=_MAX_VALUE_LENGTH),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("headrace", __version__)

    def query(self, query: Query) -> QuerySpan:
        """A query begins; see `Tracer`."""
        name, parent = f"{operation(query.messages)} {query.model}", valid_traceparent(query.traceparent)
        span = self._start(name, parent, SpanKind.SERVER, query_attributes(query))
        return _Query(self._tracer, span) if span.is_recording() else PassedOn(_header(span))

    def remote(self, name: str, traceparent: str | None, attributes: Attributes | None = None) -> Span:
        """A span for another process; see `Tracer`."""
        parent = valid_traceparent(traceparent)
        if parent is None or not parts(parent)[2]:
            return PassedOn(parent)
        return _Step(self._start(name, parent, SpanKind.SERVER, attributes))

    async def close(self) -> None:
        """See `Tracer`; the SDK's thread is joined off the event loop."""
        give_up = threading.Timer(_CLOSE_TIMEOUT_S, self._exporter.shutdown)  # a batch after that fails at once
        give_up.start()
        try:
            await asyncio.to_thread(self._provider.shutdown)
        finally:
            give_up.cancel()

    def _start(self, name: str, parent: str | None, kind: SpanKind, attributes: Attributes | None) -> trace.Span:
        context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(_context(parent)))
        return self._tracer.start_span(name, context or Context(), kind, attributes)


class _Step:
    """One span that is kept."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.traceparent: str | None = _header(span)

    def end(self, attributes: Attributes | None = None, error: str | None = None) -> None:
        """See `Span`."""
        if not self._span.is_recording():
            return
        if attributes:
            self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _Call:
    """The span of an engine call."""

    def __init__(self, step: _Step) -> None:
        self._step = step
        self.traceparent = step.traceparent

    def end(self, attempt: Attempt) -> None:
        """See `AttemptSpan`."""
        self._step.end(attempt_attributes(attempt), error_of(attempt.outcome))


class _Query:
    """The span of a query, and those under it."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._step = tracer, _Step(span)
        self._under = trace.set_span_in_context(span, Context())
        self._steps: list[_Step] = []
        self.traceparent = self._step.traceparent

    def child(self, name: str, attributes: Attributes | None = None) -> Span:
        """See `QuerySpan`."""
        return self._begin(name, SpanKind.INTERNAL, attributes)

    def attempt(self, node: str, model: str, call: Call) -> AttemptSpan:
        """See `QuerySpan`."""
        name = f"{operation(call.messages)} {model}"
        return _Call(self._begin(name, SpanKind.CLIENT, call_attributes(node, model, call)))

    def end(self, account: Answer) -> None:
        """See `QuerySpan`."""
        for step in self._steps:
            step.end()
        self._step.end(account_attributes(account), error_of(account.outcome))

    def _begin(self, name: str, kind: SpanKind, attributes: Attributes | None) -> _Step:
        step = _Step(self._tracer.start_span(name, self._under, kind, attributes))
        self._steps.append(step)
        return step


def _context(header: str) -> SpanContext:
    trace_id, span_id, sampled = parts(header)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(sampled))


def _header(span: trace.Span) -> str | None:
    """None where the SDK is switched off by its own variable (OTEL_SDK_DISABLED)."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return traceparent(context.trace_id, context.span_id, context.trace_flags.sampled)
