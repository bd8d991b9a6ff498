"""From events of queries to figures. What is exported, and where to, is not known here."""

from collections.abc import Iterator, Sequence

from serve_app.core import NANO_USD, Answer
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Instrument, Instruments, Reading, Source


class Counting:
    """Counts into instruments. For one event loop."""

    def __init__(self, instruments: Instruments) -> None:
        self._to = instruments
        self._in_flight = 0
        self._saved_nusd = 0
        for instrument in its.ALL:
            if not instrument.labels and instrument.kind == "counter":
                self._to.add(instrument, 0.0)

    def levels(self) -> Iterator[Reading]:
        """The gauges that follow from what was counted; a `Source`."""
        yield Reading(its.IN_FLIGHT, self._in_flight)
        yield Reading(its.SAVED, self._saved_nusd / NANO_USD)

    def started(self) -> None:
        """A query was admitted."""
        self._in_flight += 1

    def finished(self, answer: Answer) -> None:
        """A query ended, however it ended; `answer` is its priced account."""
        self._in_flight -= 1
        model, route = answer.requested_model, answer.route or "none"
        self._to.add(its.QUERIES, 1, model, route, answer.outcome)
        self._to.add(its.TIERS, 1, answer.tier)
        if answer.cache is not None:
            self._to.add(its.CACHED_ANSWERS, 1, answer.cache)
        if answer.escalated:
            self._to.add(its.ESCALATIONS, 1, route)
        self._add_attempts(answer)
        self._to.add(its.ALWAYS_LARGE, answer.always_large_nusd / NANO_USD)
        self._add_savings(answer)
        if answer.first_token_ms is not None:
            self._to.observe(its.FIRST_TOKEN, answer.first_token_ms / 1000, model)
        self._to.observe(its.DURATION, answer.ms / 1000, model)

    def shadowed(self, kind: str, account: Answer, verdict: str) -> None:
        """A shadow of a query ended. Its money counts against the savings: nobody asked for it."""
        self._to.add(its.SHADOWS, 1, kind, account.route or "none", verdict)
        self._add_attempts(account)
        self._add_saving("shadows", -account.cost_nusd)

    def retried(self, node: str) -> None:
        """A call of this node was made again."""
        self._to.add(its.RETRIES, 1, node)

    def degraded(self, cause: str) -> None:
        """A query was answered in another way than configured."""
        self._to.add(its.DEGRADED, 1, cause)

    def misversioned(self, num_attempts: int) -> None:
        """So many attempts were answered by another version than was asked for."""
        self._to.add(its.MISVERSIONED, num_attempts)

    def refused(self, status: int) -> None:
        """A request got an error answer with this HTTP status."""
        self._to.add(its.ERROR_ANSWERS, 1, str(status))

    def lost(self, num_queries: int) -> None:
        """A dead gateway's journal told of this many queries that never ended."""
        self._to.add(its.LOST, num_queries)

    def _add_attempts(self, answer: Answer) -> None:
        for attempt in answer.attempts:
            node, usage = attempt.node, attempt.usage
            self._to.add(its.ATTEMPTS, 1, node, attempt.outcome)
            self._to.add(its.TOKENS, usage.prompt_tokens, node, "prompt")
            self._to.add(its.TOKENS, usage.completion_tokens, node, "completion")
            self._to.add(its.CACHED_TOKENS, usage.cached_tokens, node)
            self._to.add(its.BUSY, usage.busy_s, node)
            self._to.add(its.COST, attempt.cost_nusd / NANO_USD, node)

    def _add_savings(self, answer: Answer) -> None:
        """The levers' parts, and the rest: what routing and cascade saved."""
        levers = {
            "cache": answer.saved_by_cache_nusd,
            "prefix": answer.saved_by_prefix_nusd,
            "tier": answer.saved_by_tier_nusd,
        }
        rest_nusd = answer.always_large_nusd - answer.cost_nusd - sum(levers.values())
        for lever, nusd in {"cascade": rest_nusd, **levers}.items():
            self._add_saving(lever, nusd)

    def _add_saving(self, lever: str, nusd: int) -> None:
        self._saved_nusd += nusd
        if nusd:
            self._to.add(its.SAVINGS, abs(nusd) / NANO_USD, lever, "saved" if nusd > 0 else "lost")


class Sampler:
    """Brings states that others keep into instruments, each time it is called."""

    def __init__(self, instruments: Instruments) -> None:
        self._to = instruments
        self._sources: list[Source] = []
        self._last: dict[tuple[Instrument, tuple[str, ...]], float] = {}

    def watch(self, source: Source) -> None:
        """Read it from now on."""
        self._sources.append(source)

    def sample(self) -> None:
        """Read all sources now. A counter grows by what it grew since last time; a gauge that is gone reads 0."""
        readings = [reading for source in self._sources for reading in source()]
        now = {(reading.instrument, reading.labels) for reading in readings}
        gone = [key for key in self._last if key not in now and key[0].kind == "gauge" and self._last[key]]
        self._tell(readings)
        self._tell([Reading(instrument, 0.0, labels) for instrument, labels in gone])

    def _tell(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            key = (reading.instrument, reading.labels)
            if reading.instrument.kind == "counter":
                self._to.add(reading.instrument, max(0.0, reading.value - self._last.get(key, 0.0)), *reading.labels)
            else:
                self._to.set(reading.instrument, reading.value, *reading.labels)
            self._last[key] = reading.value
