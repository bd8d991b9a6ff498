"""A retriever that finds what it was told to find."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_app.core import Passage, Retrieval, Search

TEXT = "A patent is valid for twenty years from the day of filing."


def passage(text: str = TEXT, **fields: object) -> Passage:
    """One of document `d1`, which begins 100 characters before it."""
    place = {"start": 100, "end": 100 + len(text), "num_tokens": 13, "score": 0.9, "source": "patents.md"}
    return Passage(
        **{
            "passage_id": "p1",
            "document_id": "d1",
            "collection": "default",
            "title": "Patents",
            **place,
            "text": text,
            **fields,
        }
    )  # type: ignore[arg-type]


def found(*passages: Passage, fit: float = 0.8, **fields: object) -> Retrieval:
    """`passages`, or the one above."""
    return Retrieval(passages or (passage(),), fit, "v1", 0.25, **fields)  # type: ignore[arg-type]


EMPTY = Retrieval((), 0.0, "v1", 0.25)
HANGS = "hangs"


@dataclass
class ScriptedRetriever:
    """A core.Retriever: what each search gives or raises, the last one over and over. `asked` is set at each search."""

    script: Sequence[Retrieval | Exception | str] = field(default_factory=lambda: [found()])
    searches: list[Search] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def retrieve(self, search: Search) -> Retrieval:
        self.searches.append(search)
        self.asked.set()
        told = self.script[min(len(self.searches), len(self.script)) - 1]
        if isinstance(told, str):
            await asyncio.Event().wait()
        if isinstance(told, Exception):
            raise told
        assert isinstance(told, Retrieval)
        return told
