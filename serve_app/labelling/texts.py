"""What an answer says, taken out of how it says it. Pure functions of strings, shared with the training metrics."""

from __future__ import annotations

import re
import shlex
import string
from collections import Counter
from collections.abc import Sequence

_OPERATORS = {"|", "||", "&&", ";", "&", "|&"}
_FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def bare_code(answer: str) -> str:
    """The first fenced block of an answer that has one, else the answer: chat around the code is not held against it.

    >>> bare_code("Use this:\\n```bash\\nls -l\\n```")
    'ls -l'
    """
    found = _FENCE.search(answer)
    return found[1].strip() if found else answer


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks, in order."""
    return _TOKEN.findall(text)


def normalised(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces: SQuAD's comparison (arXiv:1606.05250).

    >>> normalised("The  Eiffel Tower!")
    'eiffel tower'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def stated_verdict(answer: str, verdicts: Sequence[str] = ("yes", "no")) -> str | None:
    """The verdict that an answer states: its first word, else the last one named; None when it names none.

    >>> [stated_verdict(answer) for answer in ("It is about insurance, so no.", "Yes, there is no cap.", "Perhaps.")]
    ['no', 'yes', None]
    >>> stated_verdict("Maybe.", ("yes", "no", "maybe"))
    'maybe'
    """
    named = rf"({'|'.join(map(re.escape, verdicts))})\b"
    found = re.findall(rf"\b{named}", answer.lower())
    if not found:
        return None
    leads = re.match(rf"\W*{named}", answer.lower()) is not None
    return str(found[0 if leads else -1])


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


def bag_f1(left: Sequence[str], right: Sequence[str]) -> float:
    """F1 of two bags of tokens; 0 where they share none.

    >>> bag_f1(["a", "b"], ["b", "c"])
    0.5
    """
    return f1((Counter(left) & Counter(right)).total(), len(left), len(right))


def f1(num_common: int, num_left: int, num_right: int) -> float:
    """Harmonic mean of the shares that `num_common` is of both sides."""
    return 2 * num_common / (num_left + num_right) if num_common else 0.0


def _flags(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({word.split("=")[0] for word in words if word.startswith("-") and word != "-"}))
