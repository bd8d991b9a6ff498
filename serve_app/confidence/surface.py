"""What can be counted in a query: length, numbers, operators, kinds of words, and the choices it offers.

A sentence vector says what a query is about and hardly how long or how numerical it is; these features say that.
English words only: other languages leave the word counts at 0.
"""

from __future__ import annotations

import math
import re
import string
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

HEAD_CHARS, TAIL_CHARS = 1200, 800
"""Read of a longer text, so that a megabyte costs what a page costs; only its length is taken whole."""

_GROUPS = {
    "rates": "each every per apiece",
    "comparisons": "more less fewer than older younger longer greater smaller",
    "multiples": "half twice double triple times third quarter thrice dozen",
    "totals": "total all altogether sum combined both",
    "remainders": "left remaining rest remain remains",
    "order": "first second next then last after before finally",
    "averages": "average mean median percent percentage rate probability",
    "conditions": "if when unless suppose assume given",
    "number_words": "one two three four five six seven eight nine ten eleven twelve hundred thousand",
    "time_units": "second minute minutes hour hours day days week weeks month months year years",
    "how": "how",
    "why": "why because",
    "what": "what",
    "which": "which following",
    "negations": "not except no never none cannot least",
    "superlatives": "most best primarily main likely",
    "truth": "true false statement statements correct incorrect",
    "people": "he she his her they their him",
    "second_person": "you your i my me we our",
    "requests": "write explain describe list give compare create summarize translate",
    "code_words": "function code python class return print array string variable",
}
"""Kinds of words: the first were written with arithmetic stories in mind, the later ones with exams and requests."""

_GROUP_OF = {word: index for index, words in enumerate(_GROUPS.values()) for word in words.split()}

_COUNTED = {
    "operators": "=+*/^<>|\\",
    "dollars": "$",
    "percents": "%",
    "commas": ",;:",
    "quotes": "\"'",
    "brackets": "()[]{}",
    "lines": "\n",
    "questions": "?",
    "blanks": "_",
}
"""Characters, counted as they are."""

_SHARES = {"capitals": string.ascii_uppercase, "digits": string.digits, "beyond_ascii": "\x80"}
"""Characters, as a share of all; \x80 stands for all that is not ASCII."""

SURFACE = (
    "log_chars",
    "log_words",
    "log_numbers",
    "log_largest",
    "log_smallest",
    "mean_log_number",
    "fractions",
    "log_sentences",
    "words_per_sentence",
    "distinct_words",
    "word_length",
    "years",
    *_COUNTED,
    *_SHARES,
    *_GROUPS,
    "choices",
    "choice_length",
    "choice_spread",
    "numeric_choices",
    "choice_overlap",
    "choices_of_above",
    "choices_with_digits",
    "stem_length",
    "stem_words",
    "stem_numbers",
    "stem_lines",
    "stem_asks",
)
"""Names of the features, in the order of `surface`."""

_TALLY = np.array(
    [[char in chars for chars in (*_COUNTED.values(), *_SHARES.values())] for char in map(chr, range(129))], dtype=float
)
"""(129, kinds of characters): which kinds a character belongs to."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_SENTENCE = re.compile(r"[.?!](?:\s|$)")
_CHOICE = re.compile(r"\n[ (]{0,3}[A-J][.)] ")
_NUMERIC = re.compile(r"[\s\d.,$%/+*^=()xe°-]+(?:[a-zA-Z]{1,4}\.?)?\s*")
_OF_ABOVE = re.compile(r"of (?:the above|these)|\b(?:both|neither) [a-e]\b", re.IGNORECASE)
_MOST_DIGITS = 15


def surface(text: str) -> FloatArray:
    """The features of one query, (len(SURFACE),); always finite. Pure; about 0.1 ms for a paragraph.

    >>> found = dict(zip(SURFACE, surface("How many is 3 times 12?").tolist()))
    >>> found["multiples"], round(found["log_largest"], 3), found["stem_asks"]
    (1.0, 2.565, 1.0)
    """
    read = text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"
    stem, *choices = _CHOICE.split(read)
    words = _WORD.findall(read.lower())
    groups = [0.0] * len(_GROUPS)
    for word in words:
        index = _GROUP_OF.get(word)
        if index is not None:
            groups[index] += 1
    found = [
        math.log1p(len(text)),
        *_lengths(read, words),
        *_characters(read),
        *groups,
        *_choices(stem, choices),
        *_stem(stem),
    ]
    return np.array(found)


def _lengths(read: str, words: list[str]) -> list[float]:
    """From `log_words` to `years`."""
    numbers = [found.replace(",", "")[:_MOST_DIGITS] for found in _NUMBER.findall(read)]
    logs = [math.log1p(float(number)) for number in numbers]
    sentences = max(len(_SENTENCE.findall(read)), 1)
    num_words = max(len(words), 1)
    return [
        math.log1p(len(words)),
        math.log1p(len(numbers)),
        max(logs, default=0.0),
        min(logs, default=0.0),
        sum(logs) / max(len(logs), 1),
        float(sum("." in number for number in numbers)),
        math.log1p(sentences),
        num_words / sentences,
        len(set(words)) / num_words,
        sum(map(len, words)) / num_words,
        float(len(_YEAR.findall(read))),
    ]


def _characters(read: str) -> list[float]:
    """From `operators` to `beyond_ascii`."""
    codes = np.frombuffer(read.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")
    found: list[float] = (np.bincount(np.minimum(codes, 128), minlength=129) @ _TALLY).tolist()
    return found[: len(_COUNTED)] + [count / max(len(read), 1) for count in found[len(_COUNTED) :]]


def _choices(stem: str, choices: list[str]) -> list[float]:
    """From `choices` to `choices_with_digits`; all 0 where no choices are offered."""
    if not choices:
        return [0.0] * 7
    choices[-1] = choices[-1].partition("\n")[0]  # what follows the last choice is not part of it
    lengths = [len(choice) for choice in choices]
    asked = set(stem.lower().split())
    shared = sum(len(asked.intersection(choice.lower().split())) for choice in choices)
    return [
        float(len(choices)),
        math.log1p(sum(lengths) / len(lengths)),
        math.log1p(max(lengths) - min(lengths)),
        float(sum(_NUMERIC.fullmatch(choice) is not None for choice in choices)),
        math.log1p(shared),
        float(sum(_OF_ABOVE.search(choice) is not None for choice in choices)),
        float(sum(_DIGIT.search(choice) is not None for choice in choices)),
    ]


def _stem(stem: str) -> list[float]:
    """The last five: of what is asked before any choice."""
    return [
        math.log1p(len(stem)),
        math.log1p(stem.count(" ")),
        math.log1p(len(_NUMBER.findall(stem))),
        float(stem.count("\n")),
        float(stem.rstrip().endswith("?")),
    ]
