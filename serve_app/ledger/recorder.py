"""The gateway's end of the ledger: accounts are written down at once, and go to the ledger in batches."""

import asyncio
import contextlib
import logging
from typing import Literal

from serve_app.core import Answer, JournalFull, Ledger, LedgerError, Opening
from serve_app.ledger.confirmations import Confirmations
from serve_app.ledger.journal import Journal
from serve_app.ledger.pending import Pending

_LOG = logging.getLogger(__name__)
_BACKOFF_S, _BACKOFF_LIMIT_S = 0.1, 5.0
_MAX_IN_MEMORY = 20_000
_BEHIND_AFTER_BATCHES = 4


class Recorder:
    """Batches accounts for one `core.Ledger`, local or behind a handle. For one event loop; no method is thread-safe.

    A query goes `begin`, `synced` (before it is dispatched), `put`, `saved` (before its last chunk is sent). Nothing is
    dropped, unless `when_full` allows it. A batch that fails stays pending and is sent again, later each time; it may
    have been stored all the same, which is harmless because records are idempotent. A failing batch is halved, down to
    a single account. If the ledger takes another one, it goes to the end of the queue: what no database takes does not
    hold up the others. If not, the ledger is away, and the order is kept.

    `durability`: what `saved` waits for, see `LedgerSettings`. `when_full`: what becomes of new queries when their
    accounts cannot be written down. With no journal all is in memory and lost with the process; tests and benches.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal | None = None,
        *,
        flush_ms: float = 50,
        max_batch: int = 500,
        record_timeout_s: float = 30.0,
        durability: Literal["local", "replicated"] = "local",
        replicate_timeout_s: float = 2.0,
        when_full: Literal["refuse", "serve_unrecorded"] = "refuse",
    ) -> None:
        self._ledger, self._record_timeout_s, self._journal = ledger, record_timeout_s, journal
        self._flush_s, self._max_batch = flush_ms / 1000, max_batch
        self._replicate_timeout_s = replicate_timeout_s if durability == "replicated" else None
        self._refuses = when_full == "refuse"
        self._pending, self._confirmations = Pending(journal), Confirmations()
        self._batch_size, self._failures_in_row, self._num_probes = max_batch, 0, 0
        self._hurry, self._lock = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.num_recorded = 0
        """Accounts that the ledger has confirmed."""
        self.num_flushes = 0
        """Batches that the ledger has confirmed."""
        self.num_failed_flushes = 0
        """Batches that failed and were kept."""
        self.num_unrecorded = 0
        """Queries served though their beginning could not be written down. Their accounts are put all the same."""
        self.num_spilled = 0
        """Accounts that were in memory only when they were put, because the journal had no room."""
        self.num_dropped = 0
        """Accounts given up because memory was full as well; with `when_full: serve_unrecorded` only."""
        self.num_unsynced = 0
        """Times that a query went on though the disk had failed to confirm what was written."""
        self.num_unreplicated = 0
        """Answers sent off before the ledger had confirmed their accounts, with `durability: replicated`."""
        self.last_error: Exception | None = None
        """Why the latest failed batch failed; None after a success."""

    @property
    def num_pending(self) -> int:
        """Accounts not yet confirmed by the ledger."""
        return len(self._pending)

    @property
    def num_in_memory(self) -> int:
        """Accounts that are nowhere on disk. Included in `num_pending`."""
        return self._pending.num_in_memory

    @property
    def pending_bytes(self) -> int:
        """Bytes of the journal that the ledger has still to confirm; 0 without a journal."""
        return self._journal.num_bytes if self._journal is not None else 0

    @property
    def problem(self) -> str | None:
        """Why accounts of new queries cannot be written down, in words; None when they can."""
        if self._journal is not None:
            return self._journal.problem
        if len(self._pending) >= _MAX_IN_MEMORY:
            return f"{self._unsaved()}; queries are taken again when the ledger has caught up."
        return None

    @property
    def state(self) -> Literal["ok", "behind", "full"]:
        """`full`: what is new cannot be written down. `behind`: it can, but the ledger fails or does not keep up."""
        if self.problem is not None or (self._journal is not None and self.num_in_memory):
            return "full"
        if self.last_error is not None or self.num_pending > _BEHIND_AFTER_BATCHES * self._max_batch:
            return "behind"
        return "ok"

    def begin(self, opening: Opening) -> None:
        """Write down that a query begins; `put` or `drop` must follow.

        Raises JournalFull where that is the policy, and LedgerError after `close`.
        """
        if self._closed:
            raise LedgerError(f"The recorder is closed; query {opening.query_id} cannot be begun.")
        try:
            if self._journal is not None:
                self._journal.begin(opening)
            elif problem := self.problem:
                raise JournalFull(problem)
        except JournalFull:
            if self._refuses:
                raise
            self.num_unrecorded += 1

    def drop(self, query_id: str) -> None:
        """There will be no account of a query that was begun: nothing was done for it."""
        if self._journal is not None:
            self._journal.gone(query_id)

    def put(self, answer: Answer) -> None:
        """Take charge of an account; call from within the event loop. Raises LedgerError after `close`, else never."""
        if self._closed:
            raise LedgerError(f"The recorder is closed; the account of query {answer.query_id} was not taken.")
        if not self._refuses and self.num_in_memory >= _MAX_IN_MEMORY:
            self.num_dropped += 1
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())
        self._pending.append(answer)
        if self._journal is not None:
            self._journal.sync_soon()  # meanwhile the caller makes its answer ready, and then waits in `saved`
        self._confirmations.num_put += 1
        self.num_spilled += self._journal is not None and self.num_in_memory > 0
        if len(self._pending) >= self._max_batch:
            self._hurry.set()

    async def synced(self) -> None:
        """Return when all that was begun and put so far is on disk. Raises JournalFull where that is the policy."""
        if self._journal is not None:
            try:
                await self._journal.synced()
            except JournalFull:
                if self._refuses:
                    raise
                self.num_unsynced += 1

    async def saved(self, query_id: str) -> None:
        """Return when the account that was just put is as safe as `durability` asks, or can be made. Never fails."""
        if self._replicate_timeout_s is not None:
            try:
                async with asyncio.timeout(self._replicate_timeout_s):
                    self._hurry.set()
                    return await self._confirmations.wait(query_id)
            except TimeoutError:
                self.num_unreplicated += 1
        if self._journal is not None:
            try:
                await self._journal.synced()
            except JournalFull as error:  # the answer is there, and its account goes to the ledger all the same
                self.num_unsynced += 1
                _LOG.error("The account of query %s is not safe yet: %s", query_id, error)
        return None

    async def flush(self) -> None:
        """Hand over the accounts that are pending now; what is put meanwhile may go with them.

        Raises LedgerError at the first batch that fails; it is kept.
        """
        target = self.num_recorded + len(self._pending)
        while len(self._pending) and self.num_recorded < target:
            if not await self._send_batch():
                raise LedgerError(f"{self._unsaved()}; they are kept and sent again.") from self.last_error

    async def close(self, timeout_s: float = 5.0) -> None:
        """Take no more accounts, hand over the rest, trying again until `timeout_s` is over, and close the journal.

        Raises LedgerError saying how many accounts are not saved; it may then be called again. What is in the journal
        is sent by whoever adopts it, when this process has ended.
        """
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self._pending):
                    if not await self._send_batch():
                        await asyncio.sleep(_BACKOFF_S)
        if len(self._pending):
            raise LedgerError(
                f"{self._unsaved()}; {self.num_in_memory} of them are lost unless the recorder is closed again."
            ) from self.last_error
        if self._journal is not None:
            self._journal.close()

    async def _drain(self) -> None:
        """Send batches until none is pending; `put` starts it anew."""
        while len(self._pending):
            if self._failures_in_row:
                await asyncio.sleep(self._backoff_s())
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._flush_s)
            await self._send_batch()

    async def _send_batch(self) -> bool:
        """One transaction with the oldest accounts; False when it failed, with the accounts kept."""
        async with self._lock:  # `flush` and the background task must not send, and then settle, the same accounts
            batch: list[Answer] = []
            try:
                batch = await self._pending.head(self._batch_size)
                if not batch:
                    return True
                async with asyncio.timeout(self._record_timeout_s):
                    await self._ledger.record(batch)
            except Exception as error:  # whatever it was: accounts are kept, the failure is counted, logged and shown
                await self._keep(batch, error)
                return False
            self._pending.settle(len(batch))
            self._confirmations.confirm(batch)
            if len(self._pending) < self._max_batch and not self._confirmations.num_waiting:
                self._hurry.clear()
            self._batch_size, self._failures_in_row, self.last_error = self._max_batch, 0, None
            self.num_flushes += 1
            self.num_recorded += len(batch)
            return True

    async def _keep(self, batch: list[Answer], error: Exception) -> None:
        self.num_failed_flushes += 1
        self._failures_in_row += 1
        self.last_error = error
        self._batch_size = max(1, len(batch) // 2)
        _LOG.warning("%s", self._unsaved())
        if len(batch) == 1 and await self._takes_another():
            self._pending.postpone(batch[0])
            self._confirmations.postpone(batch[0])

    async def _takes_another(self) -> bool:
        """Whether the ledger takes an account other than the oldest: the youngest at hand, or the next time another."""
        others = (await self._pending.head(max(2, self._max_batch)))[1:]
        if not others:
            return False
        self._num_probes += 1
        try:
            async with asyncio.timeout(self._record_timeout_s):
                await self._ledger.record([others[-1 - (self._num_probes - 1) % len(others)]])
        except Exception as error:  # it refuses this one too: counted and shown when its turn comes
            _LOG.debug("The ledger takes no other account: %s", error)
            return False
        return True

    def _backoff_s(self) -> float:
        """Short while a batch is being halved, then doubling up to the limit."""
        num_halvings = self._max_batch.bit_length()
        return min(_BACKOFF_S * 2.0 ** min(max(0, self._failures_in_row - num_halvings), 10), _BACKOFF_LIMIT_S)

    def _unsaved(self) -> str:
        error = self.last_error
        cause = "the ledger has not answered yet" if error is None else str(error).rstrip(".") or type(error).__name__
        return f"{len(self._pending)} query accounts are not saved: {cause}"
