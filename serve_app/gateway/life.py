"""One query's life: find, look up, set aside, write down, run the choices, price, record.

1. The model name finds its pattern; an unknown name is an error, and no query.
2. A place in flight is taken; where there is none, the query is refused and not recorded.
3. The response cache may know the answer. Otherwise budgets set aside what the query may cost, or refuse it.
4. The journal takes the query down. Only now is anything dispatched: the pattern routes, then all choices run at once.
5. However it ends (finished, failed, out of time, client gone, replica stopping), the account is priced and recorded
   exactly once, after all engine calls are closed. An attempt that is still open then was cancelled, or timed out.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any

from serve_app.cache import Found, Lookup, Recording
from serve_app.core import Answer, DeadlineExceeded, HeadraceError, Opening, Query
from serve_app.gateway.again import account_of, pieces_of
from serve_app.gateway.choices import Piece, alone, at_once
from serve_app.gateway.citations import citations
from serve_app.gateway.deadline import Alarm, in_time
from serve_app.gateway.errors import Fault
from serve_app.gateway.services import Services
from serve_app.keys import Key
from serve_app.patterns import Trace


class LiveQuery:
    """Iterate `pieces()` to its end, or close it; then `account` is final. Before the last chunk is sent, `saved()`."""

    def __init__(
        self, services: Services, query: Query, num_choices: int, key: Key | None = None, streamed: bool = True
    ) -> None:
        """`streamed`: pieces are sent as they come, and not only when the last one is there.

        Raises ModelNotFound, and NotPermitted for a model or a tier that `key` may not use.
        """
        self._services, self._query, self._num_choices, self._key = services, query, num_choices, key
        self._pattern = services.find(query.model, key)
        if key is not None:
            key.check_tier(query.tier)
        self._span = services.tracer.query(query)
        self._trace = Trace(query, self._span)
        self._trace.streamed = streamed
        self._lookup: Lookup | None = None
        self._fingerprint = ""
        """Of all that decides answers, as it was when the response cache was asked."""
        self._found = Found()
        self._recording = Recording(num_choices)
        self._captures = services.capture.wants(query.key_id, key is not None and key.store_texts)
        self._text: list[str] = []
        """Of the first choice, so far; empty where nobody needs it."""
        self._compares = False
        """The answer may be compared with another version's."""
        self._finished = False
        self._account: Answer | None = None

    @property
    def account(self) -> Answer:
        """The priced account; there is one once `pieces()` is over."""
        assert self._account is not None, "the query is still running"
        return self._account

    @property
    def finished_well(self) -> bool:
        """Whether the client got a whole answer."""
        return self._account is not None and self._account.outcome == "accepted"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the client should know of its budgets."""
        return self._services.purse.warnings(self._key)

    @property
    def citations(self) -> list[dict[str, Any]] | None:
        """What the first choice rests on, once `pieces()` is over; None: no documents were searched."""
        sources = self._trace.sources
        return None if sources is None else citations(sources.passages, "".join(self._text))

    async def pieces(self) -> AsyncGenerator[Sequence[Piece]]:
        """What the choices yield, as it comes.

        Raises what routers and engines raise, DeadlineExceeded, Overloaded, BudgetExceeded, JournalFull, and Fault.
        """
        services = self._services
        with services.in_flight.enter(self._query.tier) as place, closing(Alarm(self._trace)) as alarm:
            with alarm:
                await self._prepare()
            if self._found.answer:
                place.forget()
            self._trace.on_first_token = place.first_text
            services.metrics.started()
            try:
                source = self._again() if self._found.answer else self._run()
                async with aclosing(in_time(source, alarm)) as ready:
                    with alarm:
                        await services.recorder.synced()
                    async for pieces in ready:
                        if self._trace.abstained:
                            place.forget()
                        if any(piece.delta.text for piece in pieces):
                            self._trace.first_token()
                        self._note(pieces)
                        yield pieces
                self._finished = True
            except Exception as error:
                self._trace.failed, self._trace.timed_out = True, isinstance(error, DeadlineExceeded)
                if isinstance(error, HeadraceError):
                    raise
                raise Fault from error
            finally:
                self._record()
        self._keep()

    async def saved(self) -> None:
        """Return when the account is as safe as `ledger.durability` asks for. Call it once `pieces()` is over."""
        step = self._span.child("record")
        try:
            await self._services.recorder.saved(self._query.query_id)
        finally:
            step.end()
            self._span.end(self.account)

    async def _prepare(self) -> None:
        """Everything before the dispatch. What raises here leaves no trace: there was no query yet."""
        services, query = self._services, self._query
        self._fingerprint = services.fingerprint.value
        tried = services.table.adapters.tried(query)
        self._trace.versions.update(tried)
        self._compares = services.canaries is not None and services.canaries.wants(query, tried)
        self._lookup = services.lookup(query, self._num_choices, self._key, tried)
        if self._lookup:
            self._found = await services.cache.find(self._lookup, bool(self._key and self._key.semantic_cache))
        if self._found.answer is None:
            await services.purse.reserve(query, self._num_choices, self._key)
        try:
            services.recorder.begin(
                Opening(
                    query_id=query.query_id,
                    created_at_s=query.created_at_s,
                    requested_model=query.model,
                    key_id=query.key_id,
                    tier=query.tier,
                    gateway=services.gateway_id,
                )
            )
        except BaseException:
            services.purse.give_back(query)
            raise

    async def _again(self) -> AsyncGenerator[Sequence[Piece]]:
        assert self._found.answer is not None
        yield pieces_of(self._found.answer)

    async def _run(self) -> AsyncGenerator[Sequence[Piece]]:
        query, trace = self._query, self._trace
        await self._pattern.prepare(query, trace)
        streams = [self._pattern.run(query, trace, index) for index in range(self._num_choices)]
        is_plain = self._num_choices == 1 and not trace.streamed
        async with aclosing(alone(streams[0]) if is_plain else at_once(streams)) as ready:
            async for pieces in ready:
                yield pieces

    def _note(self, pieces: Sequence[Piece]) -> None:
        keeps_text = self._captures or self._compares or self._trace.sources is not None
        for piece in pieces:
            if self._lookup:
                self._recording.add(piece.choice_index, piece.delta)
            if keeps_text and piece.choice_index == 0:
                self._text.append(piece.delta.text)

    def _record(self) -> None:
        """Awaits nothing, so that no cancellation can come between the end of a query and its bill."""
        services, found = self._services, self._found
        account = replace(self._trace.answer(), gateway=services.gateway_id)
        if found.answer is not None and found.kind is not None:
            before = services.prices.price(replace(found.answer.account, created_at_s=self._query.created_at_s))
            account = services.prices.price(
                account_of(account, found.answer, found.kind, self._finished),
                cached_cost_nusd=before.cost_nusd,
                cached_always_large_nusd=before.always_large_nusd,
            )
        else:
            account = services.prices.price(account)
        self._account = account
        services.recorder.put(account)
        services.query_log.ended(account)
        services.purse.settle(account)
        services.metrics.finished(account)
        if self._trace.num_misversioned:
            services.metrics.misversioned(self._trace.num_misversioned)
        for node in self._trace.retried:
            services.metrics.retried(node)
        if account.outcome == "accepted":
            for cause in {one.cause for one in self._trace.degradations}:
                services.metrics.degraded(cause)
        if services.canaries:
            services.canaries.ended(self._query, self._trace, account)
        if not self._finished:  # else `saved` does
            self._span.end(account)

    def _keep(self) -> None:
        """A good answer may be wanted again, by whoever asks next or by whoever trains on it.

        The response cache takes none that something else would answer by now, such as another adapter version, and
        none that is another than configured, since something failed or there was no budget; nor what an ensemble drew
        at a temperature of its own, which is not repeatable. Nor does it take one that rests on documents, or on there
        being none: they change, and not everybody may see them. Nobody trains on such an answer: without its passages
        it teaches to answer from memory, and with them it would outlive the documents.
        """
        services, account, sources = self._services, self.account, self._trace.sources
        if self._found.answer is None:
            services.fingerprint.answered(account.attempts)
            as_before = services.fingerprint.value == self._fingerprint
            as_configured = not self._trace.degradations and not self._trace.is_drawn
            if self._lookup and as_before and as_configured and sources is None:
                services.cache.put(self._lookup, self._recording.answer(account), self._found.vector)
        rests_on_documents = sources is not None and bool(sources.passages or sources.abstention)
        if self._captures and account.outcome == "accepted" and not rests_on_documents:
            services.capture.keep(self._query, "".join(self._text), account)
        if self._compares and services.canaries:
            services.canaries.answered(self._query, self._trace, account, "".join(self._text))
