"""Numbers as people and models write them, and whether two of them are the same."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from serve_app.core import DataError
from serve_app.labelling.item import Item, PureScorer
from serve_app.labelling.scorers.needs import reference_of

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(
    rf"""(?<![\w.])                                       # not inside a word, nor behind a decimal point
    (?P<sign>[-+−])?\s?(?:[$€£¥]\s?)?(?P<late_sign>[-−])?
    (?:(?P<whole>\d+)\s+(?=\d+/\d))?                      # the 1 of 1 1/2
    (?P<number>{_DIGITS}(?:\.\d+)?|\.\d+)
    (?:[eE](?P<exponent>[-+]?\d+)\b)?
    (?:\s?/\s?(?P<under>\d+(?:\.\d+)?)(?![\d/]))?
    \s?(?P<percent>%|percent\b)?
    (?:\s?(?P<scale>thousand|million|billion|trillion)\b)?""",
    re.VERBOSE | re.IGNORECASE,
)
_LATEX_FRACTION = re.compile(r"\\d?frac\{\s*(-?[\d.,]+)\s*\}\{\s*([\d.,]+)\s*\}")
_MARKED = re.compile(r"####|\\boxed\{")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a text."""

    value: float
    """Without the percent sign: 50 for 50 %."""
    percent: bool = False


def last_number(text: str) -> Number | None:
    """The last number of a text; where it marks its result (`####`, `\\boxed{`), the first one after the last mark.

    >>> [last_number(text) for text in ("so $1,250.50 in all.", "about 1/4 of it", "12 %", "none")]
    [Number(value=1250.5, percent=False), Number(value=0.25, percent=False), Number(value=12.0, percent=True), None]
    """
    marks = list(_MARKED.finditer(text))
    if marks and (marked := _numbers(text[marks[-1].end() :])):
        return marked[0]
    found = _numbers(text)
    return found[-1] if found else None


def same(left: Number, right: Number, tolerance: float) -> bool:
    """Whether two numbers differ by at most `tolerance`, relative to the second (absolutely where that is 0).

    50 % is the same as 50 and as 0.5: questions rarely say which is asked for.
    """
    pairs = [(left.value, right.value)]
    if left.percent != right.percent:
        pairs.append((_share(left), _share(right)))
    return any(abs(one - other) <= max(tolerance * abs(other), 1e-9) for one, other in pairs)


@dataclass(frozen=True, slots=True)
class Numeric(PureScorer):
    """The last number of the answer against the last number of the reference; an answer without one is wrong.

    >>> Numeric().judge(Item("How many?", "She has 3 + 15 = **18** eggs.", "#### 18"))
    1.0
    """

    name: ClassVar[str] = "numeric"
    tolerance: float = 1e-4
    """Relative to the reference."""

    def judge(self, item: Item) -> float:
        """See `Scorer`."""
        reference = last_number(reference_of(item, self.name))
        if reference is None:
            raise DataError("`reference` holds no number; correct it or choose another scorer.")
        answer = last_number(item.answer)
        return float(answer is not None and same(answer, reference, self.tolerance))


def _numbers(text: str) -> list[Number]:
    plain = _LATEX_FRACTION.sub(r" \1/\2 ", text).replace("**", " ").replace("\\$", "$").replace("\\%", "%")
    found = (_read(match) for match in _NUMBER.finditer(plain))
    return [number for number in found if number is not None]


def _read(match: re.Match[str]) -> Number | None:
    value = float(f"{match['number'].replace(',', '')}e{match['exponent'] or 0}")
    if match["under"]:
        under = float(match["under"])
        if under == 0:
            return None
        value /= under
    value += float(match["whole"] or 0)
    value *= _SCALES.get((match["scale"] or "").lower(), 1)
    negative = (match["sign"] or match["late_sign"] or "+") != "+"
    return Number(-value if negative else value, match["percent"] is not None) if math.isfinite(value) else None


def _share(number: Number) -> float:
    return number.value / 100 if number.percent else number.value
