"""Which texts are near-duplicates of each other: all pairs, exactly, by the Jaccard similarity of their shingles.

A shingle is a run of five characters of the text in lower case without punctuation (Broder 1997, "On the resemblance
and containment of documents"). MinHash with LSH would estimate the similarity and miss some pairs by chance; that no
pair stands across two parts of a split is a promise, so the pairs are found by a prefix filter instead (Bayardo, Ma and
Srikant 2007, "Scaling up all pairs similarity search"): of two texts that are near, the rarest few shingles of each
have one in common, so only such pairs are compared. It finds every pair, and is quick because rare shingles are rare.

What many of the texts have in common, such as a template around each question, says nothing and is not counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

_LETTERS = 5
_TEMPLATE_SHARE, _FEWEST_FOR_TEMPLATE = 0.2, 50
_ROWS_AT_A_TIME = 2000

Shingles = frozenset[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts by index, `first` < `second`."""

    first: int
    second: int
    similarity: float


def plain(text: str) -> str:
    """Words in lower case, one space between them.

    >>> plain(" What's my  PIN?")
    'what s my pin'
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def shingles(texts: Sequence[str]) -> list[Shingles]:
    """The shingles that count, of each text; of a short text the text itself is the only one."""
    found = [_all_shingles(plain(text)) for text in texts]
    if len(found) < _FEWEST_FOR_TEMPLATE:
        return found
    counts = Counter(shingle for one in found for shingle in one)
    template = {shingle for shingle, count in counts.items() if count > _TEMPLATE_SHARE * len(found)}
    return [one - template or one for one in found]  # a text of nothing but the template is compared whole


def similarity(left: Shingles, right: Shingles) -> float:
    """Jaccard: what both have of what either has.

    >>> similarity(frozenset("abc"), frozenset("bcd"))
    0.5
    """
    return len(left & right) / len(left | right)


def near_pairs(texts: Sequence[str], bound: float) -> Iterator[Pair]:
    """Every pair with a similarity of at least `bound`, in (0, 1], each once; changes nothing."""
    found = shingles(texts)
    prefixes = _prefixes(found, bound)
    for start in range(0, len(texts), _ROWS_AT_A_TIME):
        shared = (prefixes[start : start + _ROWS_AT_A_TIME] @ prefixes.T).tocoo()
        for row, second in zip(*shared.coords, strict=True):
            first = start + int(row)
            if first < second and (alike := similarity(found[first], found[second])) >= bound:
                yield Pair(first, int(second), alike)


def groups(texts: Sequence[str], bound: float) -> np.ndarray:
    """Number of the group of each text (num_texts,): near texts share one, as do texts that a chain of them joins."""
    pairs = list(near_pairs(texts, bound))
    places = ([pair.first for pair in pairs], [pair.second for pair in pairs])
    graph = csr_array((np.ones(len(pairs)), places), shape=(len(texts), len(texts)))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def repeats(texts: Sequence[str], bound: float) -> set[int]:
    """Indices of the texts that are near an earlier one that stays, so that no two that stay are near."""
    earlier: dict[int, list[int]] = {}
    for pair in near_pairs(texts, bound):
        earlier.setdefault(pair.second, []).append(pair.first)
    gone: set[int] = set()
    for index in sorted(earlier):
        if any(other not in gone for other in earlier[index]):
            gone.add(index)
    return gone


def near_to(texts: Sequence[str], others: Sequence[str], bound: float) -> set[int]:
    """Indices of the texts that are near one of `others`."""
    joined = [*texts, *others]
    return {pair.first for pair in near_pairs(joined, bound) if pair.first < len(texts) <= pair.second}


def _all_shingles(text: str) -> Shingles:
    return frozenset(text[start : start + _LETTERS] for start in range(max(len(text) - _LETTERS + 1, 1)))


def _prefixes(found: Sequence[Shingles], bound: float) -> csr_array:
    """For each text its rarest shingles, as many as two near texts cannot all have apart; (num_texts, num_shingles)."""
    counts = Counter(shingle for one in found for shingle in one)
    order = sorted(counts, key=lambda shingle: (counts[shingle], shingle))
    place = {shingle: index for index, shingle in enumerate(order)}
    columns: list[int] = []
    ends = [0]
    for one in found:
        kept = len(one) - math.ceil(bound * len(one) - 1e-9) + 1
        columns += sorted(place[shingle] for shingle in one)[:kept]
        ends.append(len(columns))
    values = np.ones(len(columns), dtype=np.int32)
    return csr_array((values, columns, ends), shape=(len(found), len(order)))
