"""The task: which of 77 intents a bank customer's request has, answered as text, from BANKING77 (CC BY 4.0).

Its own split (Casanueva et al. 2020): members learn from training texts, choices are made on other training texts, and
the test texts judge. An answer is right when it names the intent, by the ensemble's own normalisation. Members see the
request alone, as they were trained; the large model is shown every intent and examples.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_app.core import Message
from serve_app.training.specialists.public_sets import read_records

SYSTEM_PROMPT = "Name the intent of the bank customer's request."
MAX_TOKENS = 16
"""The longest name has 12 tokens."""
SOURCES = ("banking77/train.jsonl", "banking77/test.jsonl")
_SEED = 8
_NUM_VALIDATION = 1000
_LONGEST_EXAMPLE = 90
"""Letters."""


@dataclass(frozen=True, slots=True)
class Request:
    """One customer's request and its intent."""

    id: str
    """`part/row` of the data set."""
    text: str
    intent: str


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint texts, each part in a random order that is always the same."""

    train: tuple[Request, ...]
    validation: tuple[Request, ...]
    """For every choice; a tenth of the training texts."""
    test: tuple[Request, ...]


def split(data: Path) -> Split:
    """Both files of the data set. A text of the test file that is in the other one too is not trained on."""
    test = _shuffled(_read(data, "test"))
    judged = {row.text for row in test}
    rest = _shuffled([row for row in _read(data, "train") if row.text not in judged])
    return Split(tuple(rest[_NUM_VALIDATION:]), tuple(rest[:_NUM_VALIDATION]), tuple(test))


def intent_name(label: str) -> str:
    """A label as words.

    >>> intent_name("Refund_not_showing_up"), intent_name("reverted_card_payment?")
    ('refund not showing up', 'reverted card payment')
    """
    return label.replace("_", " ").rstrip("?").lower()


def _read(data: Path, part: str) -> list[Request]:
    """Rows of a file; a text that occurs again is left out."""
    rows = {row["text"]: row for row in reversed(read_records(data, f"banking77/{part}.jsonl"))}
    return [
        Request(f"{part}/{number}", text, intent_name(row["label"]))
        for number, (text, row) in enumerate(reversed(rows.items()))
    ]


def _shuffled(rows: Sequence[Request]) -> list[Request]:
    return random.Random(_SEED).sample(rows, len(rows))


def intents(rows: Sequence[Request]) -> tuple[str, ...]:
    """All names, in alphabetical order."""
    return tuple(sorted({row.intent for row in rows}))


def asked(row: Request) -> tuple[Message, ...]:
    """As a client asks the ensemble; an adapter's system prompt comes from its manifest."""
    return (Message("user", row.text),)


def shown_to_large(train: Sequence[Request]) -> tuple[Message, ...]:
    """The large model's turns before the request: every intent by name, and a training text of each as an example.

    Of five prompts this one did best on validation texts (docs/ensembles.md has the others).
    """
    examples: dict[str, Request] = {}
    for row in train:
        if len(row.text) < _LONGEST_EXAMPLE:
            examples.setdefault(row.intent, row)
    names = ", ".join(intents(train))
    system = f"You sort bank customers' requests. Reply with only the intent of the request, one of: {names}."
    shuffled = random.Random(0).sample(sorted(examples.values(), key=lambda row: row.id), len(examples))
    turns = [turn for row in shuffled for turn in (Message("user", row.text), Message("assistant", row.intent))]
    return (Message("system", system), *turns)
