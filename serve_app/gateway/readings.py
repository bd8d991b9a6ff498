"""States of a gateway's parts as metrics: journal, budgets, response cache."""

from collections.abc import Iterable, Iterator

from serve_app.budgets.use import BudgetUse
from serve_app.cache.response_cache import CacheReport
from serve_app.ledger import Recorder
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

JOURNAL_STATES = ("ok", "behind", "full")


def recorder_readings(recorder: Recorder) -> Iterator[Reading]:
    """How far the ledger is behind, and what could not be promised."""
    for state in JOURNAL_STATES:
        yield Reading(its.JOURNAL_STATE, float(recorder.state == state), (state,))
    yield Reading(its.JOURNAL_BYTES, recorder.pending_bytes)
    yield Reading(its.PENDING, recorder.num_pending)
    yield Reading(its.RECORDED, recorder.num_recorded)
    yield Reading(its.FAILED_FLUSHES, recorder.num_failed_flushes)
    yield Reading(its.UNRECORDED, recorder.num_unrecorded)
    yield Reading(its.UNREPLICATED, recorder.num_unreplicated)
    yield Reading(its.UNSYNCED, recorder.num_unsynced)
    yield Reading(its.DROPPED, recorder.num_dropped)


def budget_readings(uses: Iterable[BudgetUse]) -> Iterator[Reading]:
    """How far each budget is used; its name says whose it is and over what window.

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


def cache_readings(report: CacheReport) -> Iterator[Reading]:
    """Hits are counted with the queries; misses and sizes are known to the cache."""
    yield Reading(its.CACHE_MISSES, report.misses)
    yield Reading(its.CACHE_ENTRIES, report.entries)
    yield Reading(its.CACHE_BYTES, report.num_bytes)
