"""What of two answers has to be equal for them to count as one. Pure functions of strings.

None: the text says nothing that could be compared, so its member abstains.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

from serve_app.config.ensemble import Normaliser
from serve_app.labelling.scorers.choice import stated_choice
from serve_app.labelling.scorers.numeric import last_number

_NUM_CHOICES = 10


def text(answer: str) -> str | None:
    """The words without case, white space and punctuation; what belongs to a number stays.

    >>> text("  Yes -- it is  CAPPED."), text("It costs $1,250.50, not -3 %."), text("?!")
    ('yes it is capped', 'it costs $1,250.50 not -3 %', None)
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", answer).casefold()).replace(
        "\N{MINUS SIGN}", "-"
    )
    kept = [char if _counts(folded, at) else " " for at, char in enumerate(folded)]
    return " ".join("".join(kept).split()) or None


def first_line(answer: str) -> str | None:
    """The words of the first line that has any.

    >>> first_line("\\n**Paris**\\nIt is the capital of France.")
    'paris'
    """
    return next(filter(None, map(text, answer.splitlines())), None)


def number(answer: str) -> str | None:
    """The last number, or the one behind a mark such as `####`; a percent sign makes no difference.

    >>> [number(said) for said in ("3 + 15 = **18** eggs", "So $1,250.50.", "50 %", "none")]
    ['18', '1250.5', '50', None]
    """
    found = last_number(answer)
    return None if found is None else f"{found.value + 0.0:.15g}"  # + 0.0: no minus before a zero


def choice(answer: str) -> str | None:
    """The letter that the answer settles on, however it states it.

    >>> [choice(said) for said in ("b) iron", "The answer is D.", "It depends.")]
    ['B', 'D', None]
    """
    return stated_choice(answer, num_choices=_NUM_CHOICES)


NORMALISERS: Mapping[Normaliser, Callable[[str], str | None]] = {
    "text": text,
    "first_line": first_line,
    "number": number,
    "choice": choice,
}


def _counts(folded: str, at: int) -> bool:
    """Whether the character is more than punctuation: a sign, a point or a comma may belong to a number."""
    char = folded[at]
    if not unicodedata.category(char).startswith("P") or char == "%":
        return True
    before, after = folded[at - 1 : at] if at else "", folded[at + 1 : at + 2]
    if char == "-":
        return after.isdecimal() and not before.isalnum()
    return char in ".,:/" and before.isdecimal() and after.isdecimal()
