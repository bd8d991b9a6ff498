"""Passages and the answers that use them: how they stand before a question, and what an answer quotes. Pure text."""

from serve_app.passages.block import block, fitting, prompt_with_passages, tokens_of, with_passages
from serve_app.passages.question import question_of
from serve_app.passages.quotes import Quote, quotes

__all__ = [
    "Quote",
    "block",
    "fitting",
    "prompt_with_passages",
    "question_of",
    "quotes",
    "tokens_of",
    "with_passages",
]
