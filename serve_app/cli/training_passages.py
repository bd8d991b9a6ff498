"""Where `adapters train --with-passages` takes passages from: the rows themselves, or a document store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve_app.catalogue import ModelFiles
    from serve_app.config import Settings
    from serve_app.core import Passage
    from serve_app.training.passages import Find, PassagePlan
    from serve_app.training.rows import Row

ROWS = "rows"
TOKENIZER = "tokenizer.json"


def plan(
    source: str,
    collection: str,
    base: ModelFiles,
    limit: int | None,
    budget_tokens: int | None,
    without_right: float,
    seed: int,
) -> PassagePlan:
    """What `--with-passages SOURCE` means; what is not given is as in serving. Raises one sentence for a bad value."""
    from serve_app.config import load
    from serve_app.training.passages import PassagePlan, rows_own

    settings = load()
    if source == ROWS:
        find, named = rows_own(_counter(base)), "the rows themselves"
    else:
        find, named = _searching(settings, source, collection, base)
    return PassagePlan(
        find,
        named,
        limit if limit is not None else settings.rag.limit,
        budget_tokens if budget_tokens is not None else settings.rag.passage_tokens,
        without_right,
        seed,
    )


def _searching(settings: Settings, address: str, collection: str, base: ModelFiles) -> tuple[Find, str]:
    """The search that serving would make, in a collection of the store at `address`; and what the card calls it."""
    from serve_app.catalogue import resolve
    from serve_app.core import Search
    from serve_app.passages import question_of
    from serve_app.rag.store import DocumentStore

    rag = settings.rag
    store = DocumentStore.open(rag, address, resolve(rag.encoder).path, base.path)
    version = store.version(collection)

    def find(row: Row, limit: int) -> Sequence[Passage]:
        search = Search(question_of(row.messages), collection, limit=limit, mode=rag.mode, rerank=rag.rerank)
        return store.search(search).passages

    return find, f"the collection `{collection}`, version `{version}`"


def _counter(base: ModelFiles) -> Callable[[str], int]:
    """Tokens of a text, as the base counts them."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base.path / TOKENIZER))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
