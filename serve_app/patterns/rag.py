"""Passages before a question: any pattern, whose models are asked with what a retriever found in documents.

query ─┬─▶ the pattern's own preparation, such as routing ─┬─▶ fits      the pattern, asked with the passages
       └─▶ retrieve: at once where the collection is set,  └─▶ is weak   answer without │ abstain │ the large model
           after routing where the route decides on it
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from serve_app.core import Delta, Query
from serve_app.patterns.documents import DocumentSearch
from serve_app.patterns.models import Pattern
from serve_app.patterns.trace import Trace


class WithPassages:
    """A pattern over a pattern. After the retrieval-augmented generation of Lewis et al. 2020 (arXiv:2005.11401)."""

    def __init__(
        self,
        inner: Pattern,
        search: DocumentSearch,
        escalating: Pattern | None = None,
        by_route: Mapping[str, str] | None = None,
    ) -> None:
        """`escalating`: the same as `inner` with a cascade, for retrieval that is weak; None: there is no large model.

        `by_route`: router label -> collection, and no search for other labels; None: always `rag.collection`.
        """
        self._inner, self._search, self._escalating, self._by_route = inner, search, escalating, by_route

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Prepare the pattern, and search. Raises what either raises; the other one is cancelled, and billed, then."""
        if self._by_route is None:
            await self._both(query, trace)
            return
        await self._inner.prepare(query, trace)
        collection = self._by_route.get(trace.route.label) if trace.route else None
        if collection is not None:
            await self._search.consult(query, trace, collection)

    async def _both(self, query: Query, trace: Trace) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._search.consult(query, trace, self._search.settings.collection))
                await self._inner.prepare(query, trace)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Answer with what was found, or as the settings say where that is nothing."""
        sources = trace.sources
        if sources is None:
            return self._inner.run(query, trace, choice_index)
        if sources.abstention is not None:
            return _abstained(sources.abstention, trace, choice_index)
        if sources.escalate is not None and self._escalating is not None:
            return self._escalating.run(query, trace, choice_index)
        return self._inner.run(sources.asked, trace, choice_index)


async def _abstained(sentence: str, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
    """The whole answer; no engine has used anything for it."""
    trace.abstained.add(choice_index)
    yield Delta(sentence, finish_reason="stop")
