"""The gateway's end of the ledger: accounts go into a buffer at once and to the ledger in batches."""

import asyncio
import contextlib
import logging

from serve_app.core import Answer, Ledger, LedgerError
from serve_app.ledger.pending import MemoryPending, Pending

_LOG = logging.getLogger(__name__)
_BACKOFF_S, _BACKOFF_LIMIT_S = 0.1, 5.0


class Recorder:
    """Batches accounts for one `core.Ledger`, local or behind a handle. For one event loop; no method is thread-safe.

    Nothing is dropped. A batch that fails stays in the buffer and is sent again, later each time; it may have been
    stored all the same, which is harmless because records are idempotent. A failing batch is halved, down to a single
    account that goes to the end of the queue: one that no database takes does not hold up the others.

    `max_pending` is a bound on new work, not on the buffer: an answer that a client has got must be billed, so `put`
    always accepts and counts in `num_over_bound`; whoever admits queries asks `saturated` and refuses new ones.
    """

    def __init__(
        self,
        ledger: Ledger,
        flush_ms: float = 50,
        max_batch: int = 500,
        max_pending: int = 20_000,
        *,
        record_timeout_s: float = 30.0,
        pending: Pending | None = None,
    ) -> None:
        self._ledger, self._record_timeout_s = ledger, record_timeout_s
        self._flush_s, self._max_batch, self._max_pending = flush_ms / 1000, max_batch, max_pending
        self._pending: Pending = MemoryPending() if pending is None else pending
        self._batch_size, self._failures_in_row = max_batch, 0
        self._full, self._lock = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.num_recorded = 0
        """Accounts that the ledger has confirmed."""
        self.num_flushes = 0
        """Batches that the ledger has confirmed."""
        self.num_failed_flushes = 0
        """Batches that failed and were kept."""
        self.num_over_bound = 0
        """Accounts accepted while the buffer was at its bound."""
        self.last_error: Exception | None = None
        """Why the latest failed batch failed; None after a success."""

    @property
    def num_pending(self) -> int:
        """Accounts not yet confirmed by the ledger."""
        return len(self._pending)

    @property
    def saturated(self) -> bool:
        """Whether new queries should be refused until the ledger has caught up."""
        return len(self._pending) >= self._max_pending

    def put(self, answer: Answer) -> None:
        """Take charge of an account; call from within the event loop. Raises LedgerError after `close`."""
        if self._closed:
            raise LedgerError(f"The recorder is closed; the account of query {answer.query_id} was not taken.")
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())
        self.num_over_bound += self.saturated
        self._pending.append(answer)
        if len(self._pending) >= self._max_batch:
            self._full.set()

    async def flush(self) -> None:
        """Hand over all pending accounts now. Raises LedgerError at the first batch that fails; it is kept."""
        while len(self._pending):
            if not await self._send_batch():
                raise LedgerError(f"{self._unsaved()}; they are kept and sent again.") from self.last_error

    async def close(self, timeout_s: float = 5.0) -> None:
        """Take no more accounts and hand over the rest, trying again until `timeout_s` is over.

        Raises LedgerError saying how many accounts are not saved; it may then be called again.
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
                f"{self._unsaved()}; they are lost unless the recorder is closed again."
            ) from self.last_error

    async def _drain(self) -> None:
        """Send batches until none is pending; `put` starts it anew."""
        while len(self._pending):
            if self._failures_in_row:
                await asyncio.sleep(self._backoff_s())
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._flush_s)
            await self._send_batch()

    async def _send_batch(self) -> bool:
        """One transaction with the oldest accounts; False when it failed, with the accounts kept."""
        async with self._lock:  # `flush` and the background task must not send, and then settle, the same accounts
            batch = self._pending.head(self._batch_size)
            if not batch:
                return True
            try:
                async with asyncio.timeout(self._record_timeout_s):
                    await self._ledger.record(batch)
            except Exception as error:  # whatever it was: accounts are kept, the failure is counted, logged and shown
                self._keep(len(batch), error)
                return False
            self._pending.settle(len(batch))
            if len(self._pending) < self._max_batch:
                self._full.clear()
            self._batch_size, self._failures_in_row, self.last_error = self._max_batch, 0, None
            self.num_flushes += 1
            self.num_recorded += len(batch)
            return True

    def _keep(self, batch_size: int, error: Exception) -> None:
        self.num_failed_flushes += 1
        self._failures_in_row += 1
        self.last_error = error
        if batch_size == 1:
            self._pending.postpone()
        self._batch_size = max(1, batch_size // 2)
        _LOG.warning("%s", self._unsaved())

    def _backoff_s(self) -> float:
        """Short while a batch is being halved, then doubling up to the limit."""
        num_halvings = self._max_batch.bit_length()
        return min(_BACKOFF_S * 2.0 ** min(max(0, self._failures_in_row - num_halvings), 10), _BACKOFF_LIMIT_S)

    def _unsaved(self) -> str:
        error = self.last_error
        cause = "the ledger has not answered yet" if error is None else str(error).rstrip(".") or type(error).__name__
        return f"{len(self._pending)} query accounts are not saved: {cause}"
