"""The same questions through the product's own pattern (`model: "rag"`): are its answers those of the table?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rag.answers import CONTEXT_TOKENS, SAMPLING, generated
from bench.rag.kinds import BEST, GROUNDED, KINDS, SMALL, Asked
from bench.rag.knowledge import SETTINGS
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import resolve
from serve_app.config import load
from serve_app.core import Query, Retrieval, Search
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.documents import DocumentSearch
from serve_app.patterns.models import Fixed
from serve_app.patterns.rag import WithPassages
from serve_app.patterns.trace import Trace
from serve_app.rag.store import DocumentStore


@dataclass(frozen=True, slots=True)
class _Retriever:
    """The store as a pattern sees it."""

    store: DocumentStore

    async def retrieve(self, search: Search) -> Retrieval:
        """Search in a thread."""
        return await asyncio.to_thread(self.store.search, search)


async def served(
    store: DocumentStore, asked: Sequence[Asked], adapters: Mapping[str, AdapterSpec], threads: int
) -> dict[str, Any]:
    """How many answers of fine-tuned + RAG are the same text through the pattern and by the bench, one at a time."""
    options = EngineOptions(threads=threads, max_rows=1, max_waiting=2, max_context_tokens=CONTEXT_TOKENS)
    engine = LocalEngine(resolve(SMALL), [adapters[GROUNDED]], options)
    settings = load("demo").model_copy(update={"rag": SETTINGS})
    inner = Fixed(Single(Node("specialists", SMALL, engine)), GROUNDED)
    pattern = WithPassages(inner, DocumentSearch(_Retriever(store), settings, has_large=False))
    (kind,) = (kind for kind in KINDS if kind.name == BEST)
    await engine.start()
    try:
        alike = [await _answer(pattern, one) == (await generated(engine, kind, one)).text for one in asked]
    finally:
        await engine.close()
    return {"asked": len(alike), "alike": sum(alike)}


async def _answer(pattern: WithPassages, asked: Asked) -> str:
    query = Query(asked.question.id, "rag", SAMPLING, asked.question.messages)
    trace = Trace(query)
    await pattern.prepare(query, trace)
    return "".join([delta.text async for delta in pattern.run(query, trace, 0)])
