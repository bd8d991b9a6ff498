"""Scores of one generated answer against its reference. Pure functions of two strings, all in [0, 1]."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence

_OPERATORS = {"|", "||", "&&", ";", "&", "|&"}
_FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]")


def bare_code(answer: str) -> str:
    """The first fenced block of an answer that has one, else the answer: chat around the code is not held against it.

    >>> bare_code("Use this:\\n```bash\\nls -l\\n```")
    'ls -l'
    """
    found = _FENCE.search(answer)
    return found[1].strip() if found else answer


def exact(answer: str, reference: str) -> float:
    """1 when both are the same text, runs of white space counted as one space.

    >>> exact("ls  -l\\n", "ls -l")
    1.0
    """
    return float(bare_code(answer).split() == reference.split())


def command_template(command: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A shell command's utilities in order, each with its sorted set of flags; arguments are left out.

    >>> command_template("find . -name '*.txt' -type f | wc -l")
    (('find', ('-name', '-type')), ('wc', ('-l',)))
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:  # an unclosed quote: compare by white space, which still is deterministic
        words = command.split()
    stages: list[list[str]] = [[]]
    for word in words:
        if word in _OPERATORS:
            stages.append([])
        else:
            stages[-1].append(word)
    return tuple((stage[0], _flags(stage[1:])) for stage in stages if stage)


def template(answer: str, reference: str) -> float:
    """1 when both commands use the same utilities in the same order with the same flags."""
    return float(command_template(bare_code(answer)) == command_template(reference))


def token_f1(answer: str, reference: str) -> float:
    """F1 of the two bags of tokens; a token is a word or one punctuation mark.

    >>> token_f1("sorted(x)", "sorted(y)")
    0.75
    """
    left, right = tokens(bare_code(answer)), tokens(reference)
    return _f1((Counter(left) & Counter(right)).total(), len(left), len(right))


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of lower-cased words (ROUGE-L).

    >>> rouge_l("it is inherited", "It is rarely inherited")
    0.8571428571428571
    """
    left, right = (re.findall(r"\w+", text.lower()) for text in (answer, reference))
    return _f1(_common_subsequence(left, right), len(left), len(right))


def stated_verdict(answer: str) -> str | None:
    """`yes` or `no` as an answer states it: its first word, else its last yes or no; None when it says neither.

    >>> [stated_verdict(answer) for answer in ("It is about insurance, so no.", "Yes, there is no cap.", "Perhaps.")]
    ['no', 'yes', None]
    """
    found = re.findall(r"\b(yes|no)\b", answer.lower())
    if not found:
        return None
    leads = re.match(r"\W*(yes|no)\b", answer.lower()) is not None
    return str(found[0 if leads else -1])


def verdict(answer: str, reference: str) -> float:
    """1 when the answer states what the reference, Yes or No, says."""
    return float(stated_verdict(answer) == reference.lower())


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks, in order."""
    return _TOKEN.findall(text)


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


def _flags(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({word.split("=")[0] for word in words if word.startswith("-") and word != "-"}))


BALANCED = ("choice", "verdict")
"""Metrics with a right label a row, in which every label counts the same."""


def _f1(num_common: int, num_left: int, num_right: int) -> float:
    return 2 * num_common / (num_left + num_right) if num_common else 0.0


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
