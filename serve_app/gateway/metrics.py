"""What a replica counts. Behind a protocol, because a cluster exports the same figures through Ray."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from serve_app.core import NANO_USD, Answer
from serve_app.gateway.guarantee import GuaranteeCollector
from serve_app.patterns import CascadeControl
from serve_app.patterns.shadow import ShadowKind

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics(Protocol):
    """Called from the event loop; no method blocks."""

    def started(self) -> None:
        """A query was admitted."""
        ...

    def finished(self, answer: Answer) -> None:
        """A query ended, however it ended; `answer` is its priced account."""
        ...

    def refused(self, status: int) -> None:
        """A request got an error answer with this HTTP status."""
        ...

    def shadowed(self, kind: ShadowKind, account: Answer, verdict: str) -> None:
        """An audit or a mirrored query ended; `account` is its priced account, `verdict` one of a few words."""
        ...

    def exposition(self) -> tuple[bytes, str]:
        """The page of /metrics and its media type."""
        ...


class PrometheusMetrics:
    """The figures of this replica alone, in a registry of its own."""

    def __init__(self, control: CascadeControl | None = None) -> None:
        """`control`: whose guarantee is reported."""
        self._registry = registry = CollectorRegistry()
        if control is not None:
            registry.register(GuaranteeCollector(control))
        self._queries = Counter("headrace_queries", "Queries ended.", ("model", "route", "outcome"), registry=registry)
        self._escalations = Counter("headrace_escalations", "Queries escalated.", ("route",), registry=registry)
        self._attempts = Counter("headrace_attempts", "Engine calls ended.", ("node", "outcome"), registry=registry)
        self._tokens = Counter("headrace_tokens", "Tokens billed.", ("node", "kind"), registry=registry)
        self._cost = Counter("headrace_cost_usd", "Cost of all attempts, US dollars.", ("node",), registry=registry)
        self._large = Counter(
            "headrace_always_large_usd", "What the large model alone would have cost, US dollars.", registry=registry
        )
        self._saved = Gauge(
            "headrace_saved_usd", "Always-large cost minus cost since start; may be negative.", registry=registry
        )
        self._refused = Counter("headrace_error_answers", "Error answers sent.", ("status",), registry=registry)
        self._in_flight = Gauge("headrace_queries_in_flight", "Queries being answered.", registry=registry)
        self._first_token = Histogram(
            "headrace_first_token_seconds", "Admission to first text.", ("model",), buckets=_SECONDS, registry=registry
        )
        self._duration = Histogram(
            "headrace_query_seconds", "Admission to the end.", ("model",), buckets=_SECONDS, registry=registry
        )

        self._shadows = Counter(
            "headrace_shadows", "Audits and mirrored queries ended.", ("kind", "route", "verdict"), registry=registry
        )

    def started(self) -> None:
        """Count a query in."""
        self._in_flight.inc()

    def finished(self, answer: Answer) -> None:
        """Count a query out, with its attempts, tokens, money and times."""
        self._in_flight.dec()
        model, route = answer.requested_model, answer.route or "none"
        self._queries.labels(model, route, answer.outcome).inc()
        if answer.escalated:
            self._escalations.labels(route).inc()
        self._add_attempts(answer)
        self._large.inc(answer.always_large_nusd / NANO_USD)
        self._saved.inc((answer.always_large_nusd - answer.cost_nusd) / NANO_USD)
        if answer.first_token_ms is not None:
            self._first_token.labels(model).observe(answer.first_token_ms / 1000)
        self._duration.labels(model).observe(answer.ms / 1000)

    def shadowed(self, kind: ShadowKind, account: Answer, verdict: str) -> None:
        """Count a shadow, and its money against the savings: nobody asked for it."""
        self._shadows.labels(kind, account.route or "none", verdict).inc()
        self._add_attempts(account)
        self._saved.dec(account.cost_nusd / NANO_USD)

    def _add_attempts(self, answer: Answer) -> None:
        for attempt in answer.attempts:
            self._attempts.labels(attempt.node, attempt.outcome).inc()
            self._tokens.labels(attempt.node, "prompt").inc(attempt.usage.prompt_tokens)
            self._tokens.labels(attempt.node, "completion").inc(attempt.usage.completion_tokens)
            self._cost.labels(attempt.node).inc(attempt.cost_nusd / NANO_USD)

    def refused(self, status: int) -> None:
        """Count an error answer."""
        self._refused.labels(str(status)).inc()

    def exposition(self) -> tuple[bytes, str]:
        """Prometheus text format."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
