"""What of a conversation documents are searched for."""

from collections.abc import Sequence

from serve_app.core import Message

_SHORT_WORDS = 5
_MOST_CHARS = 2000
"""Of the end of a turn, where people ask: an encoder reads no more, and a full-text search need not."""


def question_of(conversation: Sequence[Message]) -> str:
    """The last user turn; with the one before it where it has fewer than five words and so hardly stands alone.

    >>> turns = Message("user", "How long is a trademark valid?"), Message("assistant", "Ten years.")
    >>> question_of((*turns, Message("user", "And a patent?")))
    'How long is a trademark valid?\\nAnd a patent?'
    """
    asked = [turn.content[-_MOST_CHARS:].strip() for turn in conversation if turn.role == "user"]
    last = asked[-1] if asked else ""
    if len(asked) > 1 and len(last.split()) < _SHORT_WORDS:
        return f"{asked[-2]}\n{last}"
    return last
