"""Texts as weighted words and word pairs (TF-IDF), in numpy."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from serve_app.router.classifier import Arrays, FloatArray

_WORD = re.compile(r"\b\w\w+\b")


@dataclass(frozen=True)
class Vocabulary:
    """The terms that are known, with the weight of each."""

    terms: tuple[str, ...]
    """Words in lower case, and pairs of neighbours with a space between."""
    rarity: FloatArray
    """(num_terms,): the inverse document frequency of each."""

    def weighted(self, text: str) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Places of the known terms, each once, and their TF-IDF, of length 1 together: (1 + ln count) x rarity."""
        counts = Counter(place for term in terms_of(text) if (place := self._places.get(term)) is not None)
        places = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
        values = np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts))) + 1
        values = values * self.rarity[places]
        return places, (values / max(float(np.sqrt(values @ values)), 1e-9)).astype(np.float32)

    def extended(self, terms: tuple[str, ...], rarity: float) -> Vocabulary:
        """With more terms at the end, all of one rarity."""
        more = np.full(len(terms), rarity, dtype=np.float32)
        return Vocabulary(self.terms + terms, np.concatenate([self.rarity, more]))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    def arrays(self) -> Arrays:
        """Terms as UTF-8 bytes, one a line."""
        return {
            "terms": np.frombuffer("\n".join(self.terms).encode(), dtype=np.uint8),
            "rarity": self.rarity.astype(np.float32),
        }

    @classmethod
    def restored(cls, arrays: Arrays) -> Vocabulary:
        """From disk. Raises ValueError where terms are no UTF-8 or not as many as weights."""
        terms = tuple(arrays["terms"].tobytes().decode().split("\n"))
        if arrays["rarity"].shape != (len(terms),):
            raise ValueError("terms and their rarity do not fit together")
        return cls(terms, arrays["rarity"].astype(np.float32))


def terms_of(text: str) -> list[str]:
    """Words of two letters or more, then the pairs of neighbours, as scikit-learn's TfidfVectorizer cuts them.

    >>> terms_of("Is it a fever?")
    ['is', 'it', 'fever', 'is it', 'it fever']
    """
    words = _WORD.findall(text.lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]
