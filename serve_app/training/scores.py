"""Scores of one generated answer against its reference. Pure functions of two strings, all in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from serve_app.labelling.texts import bag_f1, bare_code, command_template, f1, stated_verdict, tokens


def exact(answer: str, reference: str) -> float:
    """1 when both are the same text, runs of white space counted as one space.

    >>> exact("ls  -l\\n", "ls -l")
    1.0
    """
    return float(bare_code(answer).split() == reference.split())


def template(answer: str, reference: str) -> float:
    """1 when both commands use the same utilities in the same order with the same flags."""
    return float(command_template(bare_code(answer)) == command_template(reference))


def token_f1(answer: str, reference: str) -> float:
    """F1 of the two bags of tokens; a token is a word or one punctuation mark.

    >>> token_f1("sorted(x)", "sorted(y)")
    0.75
    """
    return bag_f1(tokens(bare_code(answer)), tokens(reference))


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of lower-cased words (ROUGE-L).

    >>> rouge_l("it is inherited", "It is rarely inherited")
    0.8571428571428571
    """
    left, right = (re.findall(r"\w+", text.lower()) for text in (answer, reference))
    return f1(_common_subsequence(left, right), len(left), len(right))


def verdict(answer: str, reference: str) -> float:
    """1 when the answer states what the reference, Yes or No, says."""
    return float(stated_verdict(answer) == reference.lower())


GENERATED: dict[str, Callable[[str, str], float]] = {
    "exact": exact,
    "template": template,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "verdict": verdict,
}
"""Metrics that need generated text, by name."""

METRICS = (*GENERATED, "choice", "loss")
"""All metric names: `choice` picks among a row's choices by likelihood, `loss` is nats a token of the reference."""

BALANCED = ("choice", "verdict")
"""Metrics with a right label a row, in which every label counts the same."""


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]
