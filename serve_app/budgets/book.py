"""A gateway's end of the budgets: reserve before a query, settle after it, ask the authority only in between."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.budgets.amount import NOTHING, Amount
from serve_app.budgets.budget import Budget, Spender, budgets_of
from serve_app.budgets.lease import Lease
from serve_app.budgets.protocol import Ask, LeaseSource
from serve_app.budgets.refusal import out_of_budget
from serve_app.budgets.use import BudgetUse
from serve_app.budgets.windows import span_at
from serve_app.config.budgets import BudgetsSettings
from serve_app.core import BudgetExceeded, LedgerError

_LOG = logging.getLogger(__name__)
_TRIES = 3
"""Messages for one query at most: what is free when it asks may be another's when the answer comes."""


@dataclass(slots=True)
class _Open:
    """A query that runs."""

    leases: tuple[Lease, ...]
    reserved: Amount


class BudgetBook:
    """The budgets of one gateway. For one event loop; no method is thread-safe.

    Every query that was reserved for must be settled, however it ends; `settle` awaits nothing, so that it can stand in
    a `finally`. A query belongs to the windows in which it was reserved, also for what is added or settled after their
    end. While slices suffice no method waits; a slice that runs low is topped up in the background.

    Where the authority does not answer, `when_away` decides. With `allow` a gateway may pass what it was granted, but
    never by itself a whole limit; the overrun is told, and counts, once the authority answers again.
    """

    def __init__(
        self,
        source: LeaseSource,
        settings: BudgetsSettings,
        gateway: str,
        *,
        clock: Callable[[], float] = time.time,
        timeout_s: float = 2.0,
        retry_s: float = 1.0,
        idle_s: float = 10.0,
        tend_s: float = 2.0,
    ) -> None:
        """`gateway` is unique to this process: another one under the same id would overwrite what this one holds.

        The authority gets `timeout_s` to answer, and is left alone for `retry_s` after it did not, or refused. A slice
        that no query used for `idle_s` goes back. `clock` tells seconds since the epoch.
        """
        self._source, self._settings, self._gateway, self._clock = source, settings, gateway, clock
        self._timeout_s, self._retry_s, self._idle_s, self._tend_s = timeout_s, retry_s, idle_s, tend_s
        self._leases: dict[tuple[str, int], Lease] = {}
        """By name of the budget and start of the window."""
        self._open: dict[str, _Open] = {}
        self._lock, self._wake = asyncio.Lock(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed_at_s: float | None = None
        self.num_asked = 0
        """Messages to the authority."""
        self.num_refused = 0
        """Reservations and extensions that no budget was left for."""
        self.num_overrun = 0
        """Reservations and extensions that were allowed unseen, because the authority was away."""
        self.last_error: Exception | None = None
        """Why the latest message failed; None after an answer."""

    def reconfigure(self, settings: BudgetsSettings) -> None:
        """Take new limits and policies. What is used and reserved stays counted."""
        self._settings = settings

    def applies_to(self, spender: Spender | None) -> bool:
        """Whether a query of this key draws on a budget at all."""
        return bool(budgets_of(self._settings, spender))

    async def reserve(self, query_id: str, spender: Spender | None, nusd: int, tokens: int) -> None:
        """Set aside the worst cost of a query, of all its budgets or of none; `spender` None is no key.

        Raises BudgetExceeded, and LedgerError where the authority is away and `when_away` is `refuse`.
        """
        if query_id in self._open:
            raise ValueError(f"query {query_id} is reserved for already")
        leases, need = self._leases_of(spender), Amount(nusd, tokens)
        if not leases:
            return
        await self._secure(leases, need)
        for lease in leases:
            lease.num_open += 1
        self._open[query_id] = _Open(leases, NOTHING)
        self._take(self._open[query_id], need)

    async def extend(self, query_id: str, nusd: int, tokens: int) -> bool:
        """Set aside more for a query, before it is escalated; False: stay small.

        With `over: refuse` it raises BudgetExceeded instead, and where the authority is away may raise LedgerError.
        """
        entry = self._open.get(query_id)
        if entry is None:
            return True
        need = Amount(nusd, tokens)
        try:
            await self._secure(entry.leases, need)
        except (BudgetExceeded, LedgerError):
            if self._settings.over == "refuse":
                raise
            return False
        if self._open.get(query_id) is not entry:
            return False  # it was settled meanwhile
        self._take(entry, need)
        return True

    def settle(self, query_id: str, nusd: int, tokens: int) -> None:
        """A query has ended and cost so much. Counts once; for a query that nothing was reserved for, nothing."""
        entry = self._open.pop(query_id, None)
        if entry is None:
            return
        now_s = self._clock()
        for lease in entry.leases:
            lease.settle(entry.reserved, Amount(nusd, tokens), now_s)
            self._noticed(lease, now_s)

    def charge(self, nusd: int, tokens: int) -> None:
        """What was spent beside the queries, such as on shadows: it counts in the budgets of all queries, of no key.

        Nothing was reserved for it, so it may overrun a budget; the queries that come next find less.
        """
        now_s = self._clock()
        for budget in budgets_of(self._settings, None):
            if budget.meter.scope == "total":
                lease = self._lease(budget, now_s)
                lease.charge(Amount(nusd, tokens), now_s)
                self._noticed(lease, now_s)
                self._start()

    def warnings(self, spender: Spender | None) -> tuple[str, ...]:
        """A sentence, in ASCII, for each budget of this key that is used beyond `warn_at`."""
        uses = [lease.use for lease in self._leases_of(spender)]
        return tuple(use.warning for use in uses if use.share >= self._settings.warn_at)

    def report(self) -> tuple[BudgetUse, ...]:
        """The budgets of all queries, and those of keys that were used here in a window that is still open."""
        now_s = self._clock()
        self._forget(now_s)  # a gateway that is only looked at tends nothing
        for budget in budgets_of(self._settings, None):
            if budget.meter.scope == "total":
                self._lease(budget, now_s)
        return tuple(lease.use for lease in self._leases.values() if lease.span.end_s > now_s)

    async def tend(self) -> None:
        """One round of what runs in the background: forget windows that are over, top up slices that run low, give
        back those that lie idle, and hear what others hold."""
        async with self._lock:
            now_s = self._clock()
            self._forget(now_s)
            if not self._paused(now_s):
                await self._contact([ask for lease in self._leases.values() if (ask := self._tended(lease, now_s))])

    async def close(self) -> None:
        """Stop the background work and give back what is free. Queries that still run stay charged at their worst."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        async with self._lock:
            for lease in self._leases.values():
                lease.give_back()
            await self._contact(
                [(lease, lease.ask(NOTHING, NOTHING)) for lease in self._leases.values() if lease.untold]
            )

    def _forget(self, now_s: float) -> None:
        """Windows that are over, once no query of theirs runs."""
        self._leases = {key: lease for key, lease in self._leases.items() if lease.num_open or lease.span.end_s > now_s}

    def _leases_of(self, spender: Spender | None) -> tuple[Lease, ...]:
        """Of the budgets that apply to this key, in the windows of now."""
        now_s = self._clock()
        return tuple(self._lease(budget, now_s) for budget in budgets_of(self._settings, spender))

    def _lease(self, budget: Budget, now_s: float) -> Lease:
        span = span_at(budget.meter.per, now_s)
        key = (budget.meter.name, span.start_s)
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease(budget, span, self._settings.slice_share)
        elif lease.budget != budget:
            lease.limit_to(budget, self._settings.slice_share)
        return lease

    async def _secure(self, leases: Sequence[Lease], need: Amount) -> None:
        """Return when `need` may be taken of all of these, at once and before anything is awaited; else raise."""
        if not any(lease.lacking(need) for lease in leases):
            return
        self._start()  # also for a query that is cancelled here: what its message got must go back
        async with self._lock:
            for _ in range(_TRIES):
                short, now_s = [lease for lease in leases if lease.lacking(need)], self._clock()
                hopeless = any(lease.surely_refused(need, now_s, self._retry_s) for lease in short)
                if not short or hopeless or self._paused(now_s):
                    break
                await self._contact([(lease, lease.ask(need, lease.slice)) for lease in short])
        self._judge([lease for lease in leases if lease.lacking(need)], need)

    def _judge(self, short: Sequence[Lease], need: Amount) -> None:
        """What becomes of a query whose need these leases lack although the authority was asked, or cannot be."""
        if not short:
            return
        now_s = self._clock()
        if self._failed_at_s is not None:
            if self._settings.when_away == "refuse":
                self.num_refused += 1
                raise LedgerError(
                    "The ledger does not answer, and this server holds no budget for the query; try again later."
                ) from self.last_error
            short = [
                lease
                for lease in short
                if lease.exceeds_alone(need) or lease.surely_refused(need, now_s, self._retry_s)
            ]
            if not short:
                self.num_overrun += 1
                return
        self.num_refused += 1
        raise out_of_budget([lease.use for lease in short], need, now_s)

    def _take(self, entry: _Open, need: Amount) -> None:
        now_s = self._clock()
        for lease in entry.leases:
            lease.take(need, now_s)
            self._noticed(lease, now_s)
        entry.reserved += need
        self._start()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _noticed(self, lease: Lease, now_s: float) -> None:
        """A lease was used: say when its budget is nearly used up, and have it topped up when it runs low."""
        if not lease.warned and lease.use.share >= self._settings.warn_at:
            lease.warned = True
            _LOG.warning("%s", lease.use.warning)
        if self._to_be_topped_up(lease, now_s):
            self._wake.set()

    async def _run(self) -> None:
        """Tend while there is something to tend; `_start` starts it anew."""
        while self._leases:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tend_s):  # `wait_for` may lose a cancellation when both come at once
                    await self._wake.wait()
            self._wake.clear()
            await self.tend()

    def _tended(self, lease: Lease, now_s: float) -> tuple[Lease, Ask] | None:
        """What the authority should be told of this lease now, if anything."""
        idle = not lease.num_open and now_s - lease.used_at_s >= self._idle_s
        if idle:
            lease.give_back()
        elif self._to_be_topped_up(lease, now_s):
            return lease, lease.ask(NOTHING, lease.slice)
        of_all = lease.budget.meter.scope == "total"
        stale = of_all and not idle and (lease.told_at_s is None or now_s - lease.told_at_s >= self._idle_s)
        return (lease, lease.ask(NOTHING, NOTHING)) if lease.untold or stale else None

    def _to_be_topped_up(self, lease: Lease, now_s: float) -> bool:
        refused = lease.refused_at_s is not None and abs(now_s - lease.refused_at_s) < self._retry_s
        return lease.low and not refused and lease.span.end_s > now_s and not self._paused(now_s)

    def _paused(self, now_s: float) -> bool:
        """Whether the authority failed just now and is left alone; a clock that was set back ends it too."""
        return self._failed_at_s is not None and abs(now_s - self._failed_at_s) < self._retry_s

    async def _contact(self, asks: Sequence[tuple[Lease, Ask]]) -> None:
        """One message to the authority. A failure is counted, logged and kept in `last_error`."""
        if not asks:
            return
        self.num_asked += 1
        for lease, _ in asks:
            lease.told_held = None  # it may be carried out though its answer never comes
        try:
            async with asyncio.timeout(self._timeout_s):
                grants = await self._source.lease(self._gateway, [ask for _, ask in asks])
        except Exception as error:  # whatever it was: the policy for an authority that is away applies
            if self._failed_at_s is None:
                _LOG.warning("Budgets cannot be asked for, `when_away` applies: %s", str(error) or type(error).__name__)
            self._failed_at_s, self.last_error = self._clock(), error
            return
        now_s = self._clock()
        self._failed_at_s = self.last_error = None
        for (lease, ask), grant in zip(asks, grants, strict=True):
            lease.answered(ask, grant, now_s)
