"""Passages before a question, as a model reads them. Serving and training use the same text.

    Answer with the help of these passages:

    [1] Title of the document
     Its text. Every line of it begins with a blank:
     a line without one is never the document's.

    [2] …

    Question: what the user asked

They stand in the user's last turn, and not in a system turn: an adapter's own system prompt is used only where a
conversation brings none.
"""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.core import Message, Passage
from serve_app.passages.harmless import extra_tokens, harmless

_HEAD = "Answer with the help of these passages:"
_QUESTION = "Question: "
_BLOCK_TOKENS = 16
"""Of head, question mark and blank lines, once."""
_PASSAGE_TOKENS = 8
"""Of a passage's number and the lines around it, rather too many than too few."""
_BYTES_PER_TOKEN = 3
"""Of a title, whose tokens nobody has counted."""


def block(passages: Sequence[Passage]) -> str:
    """The passages as text, numbered from 1; none of their lines can be taken for one of the block's own."""
    return "\n\n".join([_HEAD, *(_entry(number, one) for number, one in enumerate(passages, 1))])


def with_passages(messages: Sequence[Message], passages: Sequence[Passage]) -> tuple[Message, ...]:
    """The conversation with `passages` in its last user turn, before what it asks; unchanged where there are none.

    A conversation without a user turn gets one, which holds the passages alone.
    """
    if not passages:
        return tuple(messages)
    last = next((index for index in reversed(range(len(messages))) if messages[index].role == "user"), None)
    if last is None:
        return (*messages, Message("user", block(passages)))
    asked = messages[last]
    turn = replace(asked, content=f"{block(passages)}\n\n{_QUESTION}{asked.content}")
    return (*messages[:last], turn, *messages[last + 1 :])


def prompt_with_passages(prompt: str, passages: Sequence[Passage]) -> str:
    """A raw prompt with `passages` before it, for a model to continue; unchanged where there are none."""
    return f"{block(passages)}\n\n{prompt}" if passages else prompt


def fitting(passages: Sequence[Passage], budget_tokens: int) -> tuple[Passage, ...]:
    """Those that go into `budget_tokens` with all that stands around them, best first, each whole.

    One that is too long is left out, and a shorter one behind it may have its place.
    """
    found: list[Passage] = []
    left_tokens = budget_tokens - _BLOCK_TOKENS
    for passage in passages:
        if (needed := tokens_of(passage)) <= left_tokens:
            found.append(passage)
            left_tokens -= needed
    return tuple(found)


def tokens_of(passage: Passage) -> int:
    """Tokens that a passage adds to a prompt, rather too many than too few: its own, its title's, and what is around.

    Its own were counted before its marks were broken up.
    """
    title_tokens = -(-len(harmless(passage.title).encode(errors="replace")) // _BYTES_PER_TOKEN)
    return passage.num_tokens + title_tokens + extra_tokens(passage.text) + _PASSAGE_TOKENS


def _entry(number: int, passage: Passage) -> str:
    title = harmless(" ".join(passage.title.split()))
    lines = (line.rstrip() for line in harmless(passage.text).splitlines())
    return "\n".join([f"[{number}] {title}".rstrip(), *(f" {line}" for line in lines if line)])
