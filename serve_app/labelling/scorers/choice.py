"""The letter of a multiple-choice answer, however a model states it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from serve_app.core import DataError
from serve_app.labelling.item import Item, PureScorer
from serve_app.labelling.scorers.needs import reference_of
from serve_app.labelling.texts import normalised

_LETTERS = "ABCDEFGHIJ"
_SAID = re.compile(
    r"(?i:\b(?:answer|option|choice)s?\b(?:\s+(?:is|would\s+be|should\s+be|must\s+be))?\s*:?"
    r"(?:\s*(?:option|choice|letter))?)\s*\(?([A-J])\b(?!['’])"
)
_LEADS = re.compile(r"\s*(?:\(([A-J])\)|([A-J])(?=[.):,;\]]|\s*$|\s*\n|\s+(?:is|because|since)\b)|([B-HJ])(?=\s))")
_LOWER = re.compile(r"\s*(?:\(([a-j])\)|([a-j])(?=[.):](?:\s|$)|\s*$))")
_ALONE = re.compile(r"(?<![\w'’])(?:\(([A-J])\)|([A-J])(?=[.):,;\]]|\s*$))")
_CORRECT = re.compile(r"\(?\b([A-J])\)?\s+(?:is|seems|would\s+be)\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best)")
_MARKUP = re.compile(r"\*\*|__|`|\\boxed|\\text|[{}$]")


def stated_choice(answer: str, choices: Sequence[str] = (), num_choices: int = 5) -> str | None:
    """The letter that an answer settles on, or None.

    In this order: "the answer is B" (the last one said), "B is correct", a letter at the start, the text of exactly
    one choice, one letter alone. A choice's text that is part of another's counts only where the other is not there.

    >>> [stated_choice(text) for text in ("B", "b) iron", "**(C)** because", "The answer is D.", "A dog barks.")]
    ['B', 'B', 'C', 'D', None]
    >>> stated_choice("It must be the pancreas.", ("liver", "pancreas"))
    'B'
    """
    letters = _LETTERS[: len(choices) or num_choices]
    plain = _MARKUP.sub("", answer).strip()
    for pattern in (_SAID, _CORRECT):
        said = [letter for letter in pattern.findall(plain) if letter in letters]
        if said:
            return str(said[-1])
    by_text = _text_of_one(plain, choices)
    if by_text is not None and normalised(plain) == normalised(choices[by_text]):
        return letters[by_text]  # the text itself, even one that begins like a letter: "C major"
    leads = _LEADS.match(plain) or _LOWER.match(plain)
    if leads and (letter := next(group for group in leads.groups() if group).upper()) in letters:
        return letter
    if by_text is not None:
        return letters[by_text]
    alone = {letter for groups in _ALONE.findall(plain) for letter in groups if letter and letter in letters}
    return alone.pop() if len(alone) == 1 else None


def _text_of_one(answer: str, choices: Sequence[str]) -> int | None:
    """Index of the only choice whose text the answer holds."""
    padded = f" {normalised(answer)} "
    texts = [normalised(choice) for choice in choices]
    held = [text for text in texts if text and f" {text} " in padded]
    outermost = [text for text in held if not any(text != other and f" {text} " in f" {other} " for other in held)]
    return texts.index(outermost[0]) if len(outermost) == 1 else None


@dataclass(frozen=True, slots=True)
class Choice(PureScorer):
    """The choice that the answer states against the reference: a letter, a choice's text or an answer."""

    name: ClassVar[str] = "choice"
    unstated: Literal["wrong", "unknown"] = "wrong"
    """What an answer is that settles on no choice: `wrong` scores 0, `unknown` scores None."""
    num_choices: int = 5
    """How many letters there are where the item brings no choices."""

    def judge(self, item: Item) -> float | None:
        """See `Scorer`."""
        right = self._reference(item)
        stated = stated_choice(item.answer, item.choices, self.num_choices)
        if stated is None:
            return None if self.unstated == "unknown" else 0.0
        return float(stated == right)

    def _reference(self, item: Item) -> str:
        text = reference_of(item, self.name).strip()
        letters = _LETTERS[: len(item.choices) or self.num_choices]
        bare = text.strip("().: ").upper()
        if len(bare) == 1 and bare in letters:
            return bare
        texts = [normalised(choice) for choice in item.choices]
        if normalised(text) in texts:
            return letters[texts.index(normalised(text))]
        stated = stated_choice(text, item.choices, self.num_choices)
        if stated is None:
            raise DataError(f"`reference` settles on none of {', '.join(letters)} or their texts; correct it.")
        return stated
