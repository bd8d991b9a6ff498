"""Which words of a conversation carry its topic, and what its turns decide together.

The rule, for at most the last MAX_TURNS user turns that carry a topic, oldest first:

1. Only what the user wrote counts: a system prompt is the same for every topic, an answer is our own.
2. A turn of nothing but follow-up words ("yes please", "make it shorter") carries no topic and is skipped.
3. A turn that leans on an earlier one ("what about my brother?", "is it contagious?") is read together with it.
4. The route stays unless the topic clearly changes (`settle`).

The word list is English; in other languages every turn counts as one with a topic of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serve_app.core import Message
from serve_app.router.follow_up import FOLLOW_UP_WORDS
from serve_app.router.text import clip

MAX_TURNS = 3
CLEAR_CHANGE = 0.75
"""A turn takes a conversation away from a specialist's route only when it is at least this probable."""
_MAX_LEANING_WORDS = 5
"""A turn with more content words than this stands on its own, whatever its pronouns."""

_WORD = re.compile(r"\w+(?:'\w+)?")
_LEANS = re.compile(
    r"^\s*(and|or|but|so|then|also|what about|how about|what if|why not|in that case|same)\b"
    r"|(?<!time is )\bit\b|\b(its|that|this|these|those|they|them|their|he|she|him)\b",
    re.IGNORECASE,
)


def reading(conversation: Sequence[Message]) -> tuple[str, ...]:
    """The texts to classify, oldest first; never empty unless there is no text at all.

    >>> ask = "Can my landlord keep the deposit?"
    >>> reading([Message("user", ask), Message("assistant", "No."), Message("user", "yes please, go on")])
    ('Can my landlord keep the deposit?',)
    >>> reading([Message("user", ask), Message("user", "and what if he refuses?")])
    ('Can my landlord keep the deposit?', 'Can my landlord keep the deposit? and what if he refuses?')
    >>> reading([Message("user", ask), Message("user", "Name three rivers in France.")])
    ('Can my landlord keep the deposit?', 'Name three rivers in France.')
    >>> reading([Message("user", "yes please")])
    ('yes please',)
    """
    turns = [clip(turn.content) for turn in conversation if turn.role == "user" and turn.content.strip()]
    texts: list[str] = []
    topic = ""
    for turn in turns:
        content_words = count_content_words(turn)
        if content_words == 0:
            continue
        if topic and content_words <= _MAX_LEANING_WORDS and _LEANS.search(turn):
            texts.append(clip(f"{topic} {turn}"))
        else:
            topic = turn
            texts.append(turn)
    return tuple(texts[-MAX_TURNS:] or turns[-1:])


def last_text(conversation: Sequence[Message]) -> str:
    """The last text of `reading`, "" where there is none: the one whose vector stands for the query."""
    return (reading(conversation) or ("",))[-1]


def count_content_words(turn: str) -> int:
    """How many words could name a topic; symbols alone, as in code, count as one.

    >>> [count_content_words(turn) for turn in ("Can you make it shorter?", "is it contagious", "{}")]
    [0, 1, 1]
    """
    words = _WORD.findall(turn.lower().replace("’", "'"))
    if not words:
        return 1
    return sum(word not in FOLLOW_UP_WORDS for word in words)


def settle(
    turns: Sequence[npt.NDArray[np.float32]], fallback_index: int | None, clear_change: float = CLEAR_CHANGE
) -> npt.NDArray[np.float32]:
    """What the turns' probabilities, (num_labels,) each and oldest first, decide together.

    The first turn sets the view. A later turn replaces it when it agrees on the best label, when the view is only the
    fallback's (index `fallback_index`: no specialist holds the conversation), or when its best is at least
    `clear_change`; otherwise the view stays.

    With labels (general, legal), index 0 the fallback:

    >>> def probabilities(*pairs): return [np.array(pair, dtype=np.float32) for pair in pairs]
    >>> settle(probabilities((0.1, 0.9), (0.6, 0.4)), 0).argmax()    # legal, then vaguely general: stays legal
    np.int64(1)
    >>> settle(probabilities((0.1, 0.9), (0.95, 0.05)), 0).argmax()  # legal, then clearly general: changes
    np.int64(0)
    >>> settle(probabilities((0.9, 0.1), (0.4, 0.6)), 0).argmax()    # general, then rather legal: changes
    np.int64(1)
    """
    view = turns[0]
    for turn in turns[1:]:
        held_by_specialist = int(view.argmax()) != fallback_index
        same_topic = int(turn.argmax()) == int(view.argmax())
        if same_topic or not held_by_specialist or float(turn.max()) >= clear_change:
            view = turn
    return view
