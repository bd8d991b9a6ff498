"""What is counted: names, kinds and labels of all metrics, apart from where they are exported to.

Every label takes few values: node, outcome, lever and the like are closed sets; model, route, key and budget come from
settings. `Bounded` makes sure of it: of a label with more values than `MAX_VALUES` the rest is counted as `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

PREFIX = "headrace_"
MAX_VALUES = 200
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One metric, equal to itself only. A counter only grows; a gauge is the state of one replica."""

    name: str
    """Without prefix, and without the `_total` that a counter's name ends with on a page."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """With the prefix; a counter's page adds `_total`."""
        return PREFIX + self.name


class Instruments(Protocol):
    """Where figures are exported to. Called from one event loop; no method blocks."""

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        """To a counter; `value` >= 0."""
        ...

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """A gauge; told anew at every sample, since a gauge that is not may count as gone."""
        ...

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """A value of a histogram."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """A state that somebody else keeps, as it is now. Of a counter: the total since the replica's start."""

    instrument: Instrument
    value: float
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Reading]]
"""Reads off all its instruments. Called from the event loop whenever figures are exported; does not block."""


@runtime_checkable
class Instrumented(Protocol):
    """An engine that keeps figures of its own, beyond what its callers see."""

    def readings(self) -> Iterable[Reading]:
        """A `Source`, but for the first label: an engine does not know which node it is."""
        ...


def at_node(node: str, engine: Instrumented) -> Source:
    """An engine's figures as those of a node."""
    return lambda: (Reading(one.instrument, one.value, (node, *one.labels)) for one in engine.readings())


def _counter(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "gauge", text, labels)


QUERIES = _counter("queries", "Queries ended.", "model", "route", "outcome")
TIERS = _counter("tier_queries", "Queries ended, by service tier.", "tier")
CACHED_ANSWERS = _counter("cached_answers", "Queries answered from the response cache.", "kind")
ESCALATIONS = _counter("escalations", "Queries escalated.", "route")
ATTEMPTS = _counter("attempts", "Calls of nodes ended.", "node", "outcome")
TOKENS = _counter("tokens", "Tokens billed.", "node", "kind")
CACHED_TOKENS = _counter("cached_tokens", "Prompt tokens not computed again; included in headrace_tokens.", "node")
BUSY = _counter("busy_seconds", "Engine time attributed to calls.", "node")
COST = _counter("cost_usd", "Cost of all attempts, US dollars.", "node")
ALWAYS_LARGE = _counter("always_large_usd", "What the large model alone would have cost, US dollars.")
SAVINGS = _counter(
    "savings_usd",
    "Always-large cost minus cost, by what made the difference; saved minus lost over all levers is the whole.",
    "lever",
    "sign",
)
CACHE_MISSES = _counter("cache_misses", "Look-ups in the response cache that found nothing.")
CACHE_ENTRIES = _gauge("cache_entries", "Answers in the response cache.")
CACHE_BYTES = _gauge("cache_bytes", "Bytes of the answers in the response cache.")
CACHE_EVICTIONS = _counter("cache_evictions", "Answers that left the response cache to make room.")
REPLAYED = _counter("replayed_requests", "Requests with an Idempotency-Key that got the answer of an earlier one.")
SAVED = _gauge("saved_usd", "Always-large cost minus cost since start; may be negative.")
RETRIES = _counter("retries", "Calls made again because their replica was lost before anything was sent.", "node")
DEGRADED = _counter(
    "degraded_answers", "Answers given in another way than configured, by what failed or was lacking.", "cause"
)
MISVERSIONED = _counter(
    "misversioned", "Attempts answered by another version of the adapter than was asked for; none of them went out."
)
ADAPTERS = _gauge("adapters", "Adapters that may be asked for.")
ADAPTER_REVISION = _gauge("adapter_revision", "Revision of the adapter registry that the gateway goes by.")
ERROR_ANSWERS = _counter("error_answers", "Error answers sent.", "status")
IN_FLIGHT = _gauge("queries_in_flight", "Queries being answered.")
PLACES = _gauge("places", "Queries that the gateway answers at once at the most, now.")
REFUSED = _counter("refused_queries", "Queries that got none of the gateway's places, by service tier.", "tier")
FIRST_TOKEN = Instrument("first_token_seconds", "histogram", "Admission to first text.", ("model",), _SECONDS)
DURATION = Instrument("query_seconds", "histogram", "Admission to the end.", ("model",), _SECONDS)
SHADOWS = _counter("shadows", "Audits, mirrored queries and comparisons of canaries ended.", "kind", "route", "verdict")

JOURNAL_STATE = _gauge("journal_state", "1 for the state of the local journal.", "state")
JOURNAL_BYTES = _gauge("journal_bytes", "Bytes of accounts not yet in the ledger.")
PENDING = _gauge("pending_accounts", "Accounts that the ledger has not confirmed.")
RECORDED = _counter("recorded_accounts", "Accounts that the ledger has confirmed.")
FAILED_FLUSHES = _counter("failed_flushes", "Batches that the ledger refused or did not answer; they are sent again.")
UNRECORDED = _counter("unrecorded_queries", "Queries answered although nothing could be written down before.")
UNREPLICATED = _counter("unreplicated_answers", "Answers sent before the ledger had confirmed their account.")
UNSYNCED = _counter("unsynced_queries", "Times that a query went on though the disk had not confirmed its account.")
DROPPED = _counter("dropped_accounts", "Accounts given up because journal and memory were full.")
DROPPED_TEXTS = _counter(
    "dropped_texts", "Queries whose texts were to be kept and are not: there was no room, or the redaction failed."
)
LOST = _counter("lost_queries", "Queries whose gateway died before they ended; found by their journals.")

REMOTE_CALLS = _counter(
    "remote_calls", "Times that a server elsewhere was asked, by what came of it.", "node", "server", "outcome"
)
REMOTE_RETRIES = _counter(
    "remote_retries",
    "Times that it was asked because others or itself had failed; included in headrace_remote_calls.",
    "node",
    "server",
)
REMOTE_WAITS = _counter(
    "remote_wait_seconds", "Seconds that calls waited before all were asked again.", "node", "cause"
)
REMOTE_OPEN = _gauge(
    "remote_breaker_open", "1 while a server is left alone because it keeps failing.", "node", "server"
)

ENGINE_ADAPTER_REVISION = _gauge(
    "engine_adapter_revision", "Registry revision whose adapters a replica serves; -1: none.", "node"
)
ENGINE_ADAPTERS_FAILED = _gauge(
    "engine_adapters_failed", "Versions that a replica cannot load now and tries again.", "node"
)

BUDGET_USED = _gauge(
    "budget_used_share", "Share of a budget that is used or held, as this gateway last heard; 1 is all.", "budget"
)
BUDGET_OVERRUNS = _counter(
    "budget_overruns", "Times that a query got more budget than was granted, since the ledger did not answer."
)

GUARANTEE_STATE = _gauge("guarantee_state", "1 for the state of a route.", "route", "state")
GUARANTEE_EPOCH = _gauge("guarantee_epoch", "How often a breach has tightened the threshold.", "route")
GUARANTEE_AUDITS = _gauge("guarantee_audits", "Audits since the threshold was last changed.", "route", "verdict")
GUARANTEE_E_VALUE = _gauge(
    "guarantee_log_e_value", "Evidence that the risk is above its target; natural logarithm.", "route"
)
GUARANTEE_ALARM = _gauge("guarantee_log_alarm", "The log e-value at which a route counts as breached.", "route")
GUARANTEE_RISK = _gauge("guarantee_risk", "Target, and bounds by audits.", "route", "bound")
SIGNAL_PSI = _gauge("signal_psi", "Population stability index against the fitting data.", "route", "signal")
SIGNAL_KS = _gauge("signal_ks", "Kolmogorov-Smirnov distance to the fitting data.", "route", "signal")
CANARY_STATE = _gauge("canary_state", "1 for what the rule says of an adapter's canary now.", "adapter", "state")
CANARY_PAIRS = _gauge("canary_pairs", "Pairs that the canary is judged by.", "adapter", "subject")
CANARY_QUALITY = _gauge("canary_quality", "Bounds of the canary's mean score minus the live one's.", "adapter", "bound")
CANARY_AS_GOOD = _gauge(
    "canary_log_e_as_good", "Evidence that the canary is not worse by the margin; natural logarithm.", "adapter"
)
CANARY_WORSE = _gauge(
    "canary_log_e_worse", "Evidence that the canary is worse than allowed; natural logarithm.", "adapter", "subject"
)
CANARY_DECISIONS = _counter("canary_decisions", "Canaries promoted or withdrawn by the rule.", "adapter", "decision")
CANARY_SHADOWS = _counter("canary_shadow_ends", "What became of comparisons of canaries.", "end")
SHADOW_ENDS = _counter("shadow_ends", "What became of background work.", "end")

ALL: tuple[Instrument, ...] = tuple(value for value in dict(vars()).values() if isinstance(value, Instrument))


class FanOut:
    """The same figures to several places."""

    def __init__(self, *targets: Instruments) -> None:
        self._targets = targets

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        for target in self._targets:
            target.add(instrument, value, *labels)

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        for target in self._targets:
            target.set(instrument, value, *labels)

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        for target in self._targets:
            target.observe(instrument, value, *labels)


class Bounded:
    """Instruments with at most `max_values` values of each label; later ones are `other`."""

    def __init__(self, inner: Instruments, max_values: int = MAX_VALUES) -> None:
        self._inner, self._max_values = inner, max_values
        self._seen: dict[tuple[str, int], set[str]] = {}

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._inner.add(instrument, value, *self._bounded(instrument, labels))

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`. Of several gauges that are `other` the last one set is told."""
        self._inner.set(instrument, value, *self._bounded(instrument, labels))

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._inner.observe(instrument, value, *self._bounded(instrument, labels))

    def _bounded(self, instrument: Instrument, labels: tuple[str, ...]) -> list[str]:
        return [self._value(instrument.name, position, label) for position, label in enumerate(labels)]

    def _value(self, name: str, position: int, label: str) -> str:
        seen = self._seen.setdefault((name, position), set())
        if label not in seen:
            if len(seen) >= self._max_values:
                return "other"
            seen.add(label)
        return label
