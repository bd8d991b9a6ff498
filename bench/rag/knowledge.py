"""The knowledge base in a document store, searched as the model `rag` searches it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.rag.kinds import SMALL, Asked
from bench.rag.task import Page, Question
from serve_app.catalogue import resolve
from serve_app.config.rag import RagSettings
from serve_app.core import Passage, Search
from serve_app.passages import fitting, question_of
from serve_app.rag import Document
from serve_app.rag.store import DocumentStore
from serve_app.training.passages import Find, right_among
from serve_app.training.rows import Row

COLLECTION = "medquad"
SETTINGS = RagSettings(collection=COLLECTION, limit=3, passage_tokens=640, min_fit=0.0)
"""Three passages held the answer for more than nine in ten validation questions; see `--split validation`."""
_DEEP = 40


def open_store(folder: Path, pages: Sequence[Page], threads: int, on_pages: Callable[[str], object]) -> DocumentStore:
    """A store in `folder` that holds all pages; what is there already is not read again."""
    store = DocumentStore.open(SETTINGS, str(folder), resolve(SETTINGS.encoder).path, resolve(SMALL).path, threads)
    documents = [
        Document(page.id, page.text.encode(), page.title, page.id, "text/markdown", {"page": page.id}) for page in pages
    ]
    report = store.ingest(documents, COLLECTION, None)
    assert not report.refused, report.refused[0].reason
    on_pages(f"{report.documents} pages, {report.chunks} chunks written in {report.seconds:.0f} s")
    return store


def finder(store: DocumentStore) -> Find:
    """The search of a row's question, as in serving."""

    def find(row: Row, limit: int) -> Sequence[Passage]:
        return store.search(Search(question_of(row.messages), COLLECTION, limit=limit, mode=SETTINGS.mode)).passages

    return find


def ask(store: DocumentStore, questions: Sequence[Question]) -> tuple[list[Asked], dict[str, Any]]:
    """The questions with their passages, and what the search was worth: recall, and its median milliseconds."""
    asked, hits, busy_ms = [], [], []
    for question in questions:
        search = Search(question_of(question.messages), COLLECTION, limit=SETTINGS.limit, mode=SETTINGS.mode)
        retrieval = store.search(search)
        right = tuple(_right(store, question))
        asked.append(Asked(question, fitting(retrieval.passages, SETTINGS.passage_tokens), right))
        hits.append(bool(right_among(question.row, retrieval.passages)))
        busy_ms.append(retrieval.busy_s * 1000)
    return asked, {
        "questions": len(questions),
        f"recall_at_{SETTINGS.limit}": round(statistics.mean(hits), 4),
        "no_chunk_holds_the_answer": sum(not one.right for one in asked),
        "search_p50_ms": round(statistics.median(busy_ms), 2),
    }


def _right(store: DocumentStore, question: Question) -> list[Passage]:
    """The best passage of the page that answers, wherever a search ranks it."""
    where = {"page": question.page}
    search = Search(question.text, COLLECTION, limit=_DEEP, mode=SETTINGS.mode, where=where)
    return right_among(question.row, store.search(search).passages)[:1]
