"""Scorers that compare an answer's words with the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from serve_app.labelling.item import Item, PureScorer
from serve_app.labelling.scorers.needs import reference_of
from serve_app.labelling.texts import bare_code, command_template, normalised


@dataclass(frozen=True, slots=True)
class Exact(PureScorer):
    """The same text, runs of white space counted as one space; a fence around the answer is taken off."""

    name: ClassVar[str] = "exact"

    def judge(self, item: Item) -> float:
        """See `Scorer`."""
        return float(bare_code(item.answer).split() == reference_of(item, self.name).split())


@dataclass(frozen=True, slots=True)
class Normalised(PureScorer):
    """Equal without case, punctuation and articles, as SQuAD compares. Each line of the reference is acceptable.

    >>> scorer = Normalised()
    >>> [scorer.judge(Item("Who?", answer, "Ada Lovelace\\nLovelace")) for answer in ("lovelace.", "Byron")]
    [1.0, 0.0]
    """

    name: ClassVar[str] = "normalised"
    contains: bool = False
    """Enough that the answer holds an acceptable text, as whole words."""

    def judge(self, item: Item) -> float | None:
        """None where no line of the reference has a word."""
        acceptable = {normalised(line) for line in reference_of(item, self.name).splitlines()} - {""}
        if not acceptable:
            return None
        answer = normalised(item.answer)
        if self.contains:
            return float(any(f" {text} " in f" {answer} " for text in acceptable))
        return float(answer in acceptable)


@dataclass(frozen=True, slots=True)
class ShellTemplate(PureScorer):
    """The same utilities in the same order with the same flags; arguments are not compared, nothing is run.

    Each line of the reference is acceptable.
    """

    name: ClassVar[str] = "shell_template"

    def judge(self, item: Item) -> float:
        """See `Scorer`."""
        acceptable = [command_template(line) for line in reference_of(item, self.name).splitlines() if line.strip()]
        return float(command_template(bare_code(item.answer)) in acceptable)
