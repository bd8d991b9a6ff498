"""What two questions must share, however near their vectors are.

A sentence encoder hardly sees a number or a "not": "the capital in 1990" lies beside "the capital in 1991". Questions
whose numbers or number of negations differ are therefore never taken for one another. English only; other mistakes
are left to the threshold, whose risk is measured with this rule in force.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NEGATION = re.compile(r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|\w+n['’]t)\b")


def signature(question: str) -> tuple[tuple[str, ...], int]:
    """The numbers in ascending order of their digits, and how many negations there are.

    >>> signature("Why isn't 2 + 10.5 equal to 12?")
    (('10.5', '12', '2'), 1)
    """
    lowered = question.lower()
    return tuple(sorted(_NUMBER.findall(lowered))), len(_NEGATION.findall(lowered))
