"""What an answer rests on: the passages that stood before its question, and what it quotes of them word for word."""

from collections.abc import Sequence
from typing import Any

from serve_app.core import Passage
from serve_app.passages import quotes


def citations(passages: Sequence[Passage], answer: str) -> list[dict[str, Any]]:
    """The `citations` of the `headrace` object, in the order of the passages' numbers.

    Offsets are in characters; those of a passage and of a quote's `start` and `end` are in the document's text.
    """
    return [
        {
            "index": index,
            "document": passage.document_id,
            "title": passage.title,
            "collection": passage.collection,
            "source": passage.source,
            "start": passage.start,
            "end": passage.end,
            "score": passage.score,
            "quotes": [
                {
                    "answer_start": quote.answer_start,
                    "answer_end": quote.answer_end,
                    "start": quote.start,
                    "end": quote.end,
                }
                for quote in quoted
            ],
        }
        for index, (passage, quoted) in enumerate(zip(passages, quotes(answer, passages), strict=True), 1)
    ]
