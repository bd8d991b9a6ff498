"""What documents have to say to a query: the search, what its answer may use of it, and what is done without."""

from dataclasses import replace
from typing import NoReturn

from serve_app.confidence import Decision
from serve_app.config import Settings
from serve_app.config.rag import RagSettings
from serve_app.core import (
    HeadraceError,
    Passage,
    Query,
    ReplicaLost,
    RequestError,
    Retrieval,
    Retriever,
    RetrieverError,
    Search,
)
from serve_app.passages import fitting, prompt_with_passages, question_of, with_passages
from serve_app.patterns.failover import because
from serve_app.patterns.looks import Look
from serve_app.patterns.trace import Sources, Trace
from serve_app.telemetry import retrieval_attributes

_MOST_OF_CONTEXT = 2
"""An answer keeps room for itself, but no more than the context divided by this."""


class DocumentSearch:
    """The retriever as patterns use it, by the settings `rag`."""

    def __init__(self, retriever: Retriever, settings: Settings, has_large: bool) -> None:
        """`has_large`: passages must fit the large model's context too."""
        self.settings = rag = settings.rag
        self._retriever = retriever
        small, large = settings.specialists, settings.fallback
        self._context_tokens = small.max_context_tokens
        if has_large:
            self._context_tokens = min(small.max_context_tokens, large.max_context_tokens)
        self._answer_tokens = small.max_tokens
        self._look: Look[Retrieval] = Look(
            node="retriever",
            model=rag.encoder,
            step="retrieve",
            within_s=rag.timeout_s,
            setting="rag.timeout_s",
            attributes=retrieval_attributes,
            late=RetrieverError,
        )

    async def consult(self, query: Query, trace: Trace, collection: str) -> None:
        """Search, and note in `trace` what follows from what was found.

        A search that fails is as if nothing had been asked; where `rag.when_fails` is `fail`, RetrieverError is raised,
        or RetryLater of a retriever that is full.
        """
        rag = self.settings
        search = Search(
            question_of(query.conversation), collection, query.key_id, rag.limit, rag.mode, rerank=rag.rerank
        )
        try:
            found = await self._look.ask(lambda: self._retriever.retrieve(search), trace)
        except HeadraceError as error:
            if rag.when_fails == "fail":
                _fail(error)
            trace.degraded("retriever_failed", because("the retriever", error))
            trace.sources = Sources(query)
            return
        trace.passage_score = found.fit
        trace.sources = self._sources(query, found)

    def _sources(self, query: Query, found: Retrieval) -> Sources:
        if not found.passages or not found.fit >= self.settings.min_fit:
            return _weak(query, found, self.settings)
        passages = fitting(found.passages, self._room_tokens(query))
        if not passages:
            remark = "the passages found do not fit the context: answered without"
            return Sources(query, remarks=(*found.remarks, remark))
        return Sources(_with(query, passages), passages, remarks=found.remarks)

    def _room_tokens(self, query: Query) -> int:
        """For passages, in the smaller of the contexts; 0 or less: there is none."""
        context = self._context_tokens
        answer_tokens = min(query.sampling.max_tokens or self._answer_tokens, context // _MOST_OF_CONTEXT)
        return min(self.settings.passage_tokens, context - query.estimated_tokens - answer_tokens)


def _weak(query: Query, found: Retrieval, rag: RagSettings) -> Sources:
    """Nothing was found that fits; passages that do not would only mislead."""
    why = f"retrieval is weak: fit {found.fit:.3f} < {rag.min_fit:g}" if found.passages else "nothing was found"
    if rag.when_weak == "abstain":
        return Sources(query, abstention=rag.abstention, remarks=(*found.remarks, f"{why}; abstained"))
    if rag.when_weak == "escalate":
        decision = Decision(False, 0.0, f"{why}: no small attempt", "uncovered")
        return Sources(query, escalate=decision, remarks=found.remarks)
    return Sources(query, remarks=(*found.remarks, f"{why}; answered without passages"))


def _with(query: Query, passages: tuple[Passage, ...]) -> Query:
    if query.prompt is not None:
        return replace(query, prompt=prompt_with_passages(query.prompt, passages))
    return replace(query, messages=with_passages(query.messages, passages))


def _fail(error: HeadraceError) -> NoReturn:
    """A search that cannot be made, as in a collection that is gone, is no mistake of who asked the model.

    And a replica lost here was no engine's.
    """
    if isinstance(error, RequestError | ReplicaLost):
        raise RetrieverError(str(error)) from error
    raise error
