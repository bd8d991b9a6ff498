"""What a scorer is given, and what every scorer can do. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """One answered question. A scorer reads the fields it needs and ignores the others."""

    question: str
    answer: str
    """The text to be scored, as the model gave it."""
    reference: str | None = None
    """What is right; several acceptable texts are separated by newlines where the scorer says so."""
    choices: tuple[str, ...] = ()
    """Texts of the choices of a multiple-choice question, in the order A, B, C, …"""
    tests: tuple[str, ...] = ()
    """Python statements that raise when a program is wrong, such as `assert add(1, 2) == 3`."""
    setup: str = ""
    """Python run before the tests and before the program: imports, helper classes."""
    large_answer: str | None = None
    """The large model's answer to the same question."""


class Scorer(Protocol):
    """Scores answers. Changes nothing that an item can see; safe for concurrent calls from one event loop."""

    @property
    def name(self) -> str:
        """As in the registry."""
        ...

    async def score(self, item: Item) -> float | None:
        """1 right, 0 wrong, between: partly right; None: it cannot be told.

        Raises DataError naming the field that the item lacks.
        """
        ...


class PureScorer:
    """Base of scorers that need nobody else: a function of the item alone. Subclasses set `name` and write `judge`."""

    name: ClassVar[str]

    def judge(self, item: Item) -> float | None:
        """As `score`, at once."""
        raise NotImplementedError

    async def score(self, item: Item) -> float | None:
        """See `Scorer`."""
        return self.judge(item)
