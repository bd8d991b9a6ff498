"""States of a gateway's parts as metrics: admission, journal, texts, budgets, response cache."""

from collections.abc import Iterable, Iterator

from serve_app.budgets.use import BudgetUse
from serve_app.cache.response_cache import CacheReport
from serve_app.gateway.capture import Capture
from serve_app.gateway.in_flight import InFlight
from serve_app.ledger import Recorder
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_JOURNAL_STATES = ("ok", "behind", "full")


def admission_readings(in_flight: InFlight) -> Iterator[Reading]:
    """How many places there are, and who got none."""
    yield Reading(its.PLACES, in_flight.places)
    for tier, num_refused in in_flight.num_refused.items():
        yield Reading(its.REFUSED, num_refused, (tier,))


def recorder_readings(recorder: Recorder) -> Iterator[Reading]:
    """How far the ledger is behind, and what could not be promised."""
    for state in _JOURNAL_STATES:
        yield Reading(its.JOURNAL_STATE, float(recorder.state == state), (state,))
    yield Reading(its.JOURNAL_BYTES, recorder.pending_bytes)
    yield Reading(its.PENDING, recorder.num_pending)
    yield Reading(its.RECORDED, recorder.num_recorded)
    yield Reading(its.FAILED_FLUSHES, recorder.num_failed_flushes)
    yield Reading(its.UNRECORDED, recorder.num_unrecorded)
    yield Reading(its.UNREPLICATED, recorder.num_unreplicated)
    yield Reading(its.UNSYNCED, recorder.num_unsynced)
    yield Reading(its.DROPPED, recorder.num_dropped)


def text_readings(capture: Capture) -> Iterator[Reading]:
    """Prompts and answers that were not handed over."""
    yield Reading(its.DROPPED_TEXTS, capture.num_dropped)


def budget_readings(uses: Iterable[BudgetUse], num_overrun: int) -> Iterator[Reading]:
    """How far each budget is used; its name says whose it is and over what window. `num_overrun`: as in `BudgetBook`.

    Of all keys' budgets over the same window the most used one is told, as `key/day` and the like: figures are read
    without a key, so no key is named, and there may be any number of them. /v1/status tells an admin key of each.
    """
    shares: dict[str, float] = {}
    for use in uses:
        meter = use.budget.meter
        name = f"key/{meter.per}" if meter.scope == "key" else meter.name
        shares[name] = max(use.share, shares.get(name, 0.0))
    for name, share in shares.items():
        yield Reading(its.BUDGET_USED, share, (name,))
    yield Reading(its.BUDGET_OVERRUNS, num_overrun)


def cache_readings(report: CacheReport, num_repeated: int) -> Iterator[Reading]:
    """Hits are counted with the queries; misses and sizes are known to the cache, repetitions to no query."""
    yield Reading(its.CACHE_MISSES, report.misses)
    yield Reading(its.CACHE_ENTRIES, report.entries)
    yield Reading(its.CACHE_BYTES, report.num_bytes)
    yield Reading(its.CACHE_EVICTIONS, report.evicted)
    yield Reading(its.REPLAYED, num_repeated)
