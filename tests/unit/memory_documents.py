"""All that a gateway asks of the retriever, in memory: every word of the question that a document has counts."""

from collections.abc import Sequence

from serve_app.core import CollectionNotFound, HeadraceError, Passage, Retrieval, Search
from serve_app.rag import CollectionInfo, Document, DocumentInfo, IngestReport, Refusal


class MemoryDocuments:
    """A `gateway.documents.DocumentsNode` in a dictionary; refuses what holds the word `poison`."""

    def __init__(self) -> None:
        self.held: dict[str, dict[tuple[str | None, str], Document]] = {}
        self.searches: list[Search] = []
        self.broken: HeadraceError | None = None

    async def ingest(self, documents: Sequence[Document], collection: str, key_id: str | None) -> IngestReport:
        self._check()
        held = self.held.setdefault(collection, {})
        refused, unchanged = [], 0
        for document in documents:
            name = (key_id, document.document_id)
            if b"poison" in document.data:
                refused.append(Refusal(document.document_id, f"{document.document_id!r} cannot be read; mend it."))
                continue
            unchanged += held.get(name) == document
            held[name] = document
        landed = len(documents) - len(refused)
        return IngestReport(
            collection, self._version(collection), landed, unchanged, landed - unchanged, 10, 0.01, tuple(refused)
        )

    async def retrieve(self, search: Search) -> Retrieval:
        self._check()
        self.searches.append(search)
        words = set(search.text.lower().split())
        passages = []
        for info in self._seen(search.collection, search.key_id):
            document = self.held[search.collection][(info.key_id, info.document_id)]
            text = document.data.decode(errors="replace")
            score = len(words & set(text.lower().split())) / len(words or {""})
            if score and search.where.items() <= document.metadata.items():
                passages.append(
                    Passage(
                        f"{info.document_id}#0", info.document_id, search.collection, info.title, text, 0, len(text),
                        len(text.split()), score, score, document.source, document.metadata,
                    )
                )  # fmt: skip
        passages.sort(key=lambda passage: -passage.score)
        fit = passages[0].score if passages else 0.0
        return Retrieval(tuple(passages[: search.limit]), fit, self._version(search.collection), 0.001)

    async def documents(
        self, collection: str, key_id: str | None, limit: int, after: str | None = None
    ) -> tuple[DocumentInfo, ...]:
        self._check()
        return tuple(info for info in self._seen(collection, key_id) if after is None or info.document_id > after)[
            :limit
        ]

    async def remove(self, collection: str, document_id: str, key_id: str | None) -> bool:
        self._check()
        return self._collection(collection).pop((key_id, document_id), None) is not None

    async def collections(self, key_id: str | None) -> tuple[CollectionInfo, ...]:
        self._check()
        seen = {name: len(self._seen(name, key_id)) for name in sorted(self.held)}
        return tuple(CollectionInfo(name, num, num, self._version(name)) for name, num in seen.items() if num)

    async def drop(self, collection: str) -> None:
        self._check()
        self._collection(collection)
        del self.held[collection]

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _collection(self, name: str) -> dict[tuple[str | None, str], Document]:
        if name not in self.held:
            raise CollectionNotFound(f"There is no collection {name[:80]!r}.", "collection", "collection_not_found")
        return self.held[name]

    def _seen(self, collection: str, key_id: str | None) -> list[DocumentInfo]:
        found = [
            _info(document, owner)
            for (owner, _), document in self._collection(collection).items()
            if owner in (None, key_id)
        ]
        return sorted(found, key=lambda info: (info.document_id, info.key_id or ""))

    def _version(self, collection: str) -> str:
        return str(hash(frozenset(self.held.get(collection, {}))))


def _info(document: Document, key_id: str | None) -> DocumentInfo:
    return DocumentInfo(
        document.document_id,
        document.title or document.document_id,
        document.source,
        document.media_type,
        key_id,
        digest="0" * 64,
        num_chars=len(document.data),
        chunks=1,
        num_tokens=10,
        ingested_at="2026-01-01T00:00:00Z",
        metadata=dict(document.metadata),
    )
