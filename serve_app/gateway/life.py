"""One query's life: find, prepare, run the choices, price, record.

1. The model name finds its pattern; an unknown name is an error, and no query.
2. A place in flight is taken; where there is none, the query is refused and not recorded.
3. The pattern prepares (routes), then all choices run at once.
4. However it ends (finished, failed, client gone, replica stopping), the account is priced and recorded exactly once,
   after all engine calls are closed. An attempt that is still open then was cancelled.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core import Answer, HeadraceError, Overloaded, Query
from serve_app.gateway.errors import Fault
from serve_app.gateway.merge import Piece, merged
from serve_app.gateway.services import Services
from serve_app.patterns import Trace


class LiveQuery:
    """Iterate `pieces()` to its end, or close it; then `account` is final."""

    def __init__(self, services: Services, query: Query, num_choices: int) -> None:
        """Raises ModelNotFound."""
        self._services, self._num_choices = services, num_choices
        self._pattern = services.table.find(query.model)
        self._trace = Trace(query)
        self._account: Answer | None = None

    @property
    def account(self) -> Answer:
        """The priced account; there is one once `pieces()` is over."""
        assert self._account is not None, "the query is still running"
        return self._account

    async def pieces(self) -> AsyncGenerator[list[Piece]]:
        """What the choices yield, as it comes. Raises what routers and engines raise, Overloaded, and Fault."""
        if self._services.recorder.saturated:
            raise Overloaded("The ledger is behind with its accounts; try again later.", retry_after_s=5)
        with self._services.in_flight.enter():
            self._services.metrics.started()
            try:
                async with aclosing(self._run()) as ready:
                    async for pieces in ready:
                        if any(piece.delta.text for piece in pieces):
                            self._trace.first_token()
                        yield pieces
            except Exception as error:
                self._trace.failed = True
                if isinstance(error, HeadraceError):
                    raise
                raise Fault from error
            finally:
                self._record()

    async def _run(self) -> AsyncGenerator[list[Piece]]:
        query, trace = self._trace.query, self._trace
        await self._pattern.prepare(query, trace)
        streams = [self._pattern.run(query, trace, index) for index in range(self._num_choices)]
        async with aclosing(merged(streams)) as ready:
            async for pieces in ready:
                yield pieces

    def _record(self) -> None:
        """Awaits nothing, so that no cancellation can come between the end of a query and its bill."""
        self._account = self._services.prices.price(self._trace.answer())
        self._services.metrics.finished(self._account)
        self._services.recorder.put(self._account)
