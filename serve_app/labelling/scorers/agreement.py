"""Does a small answer say what the large model said?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from serve_app.core import DataError
from serve_app.labelling.item import Item
from serve_app.labelling.scorers.numeric import last_number, same
from serve_app.labelling.texts import bag_f1, normalised, stated_verdict

if TYPE_CHECKING:
    from serve_app.encoder import Encoder

_SHORT_WORDS = 40
_THRESHOLDS = {"f1": 0.5, "cosine": 0.85}


@dataclass(frozen=True, slots=True)
class Agreement:
    """1 where the answer agrees with the large model's, else 0. Agreement is not truth: both may be wrong alike.

    Texts that are equal without case, punctuation and articles agree. With `by: f1` or `cosine` so do texts whose words
    or sentence vectors are near enough, unless they contradict each other in what such measures do not see: one begins
    with yes and the other with no, or both are short and end on different numbers.
    """

    name: ClassVar[str] = "agreement"
    by: Literal["equal", "f1", "cosine"] = "f1"
    """`f1`: of the words; `cosine`: of sentence vectors, which are taken from the head and tail of long texts."""
    threshold: float | None = None
    """Least F1 or cosine that is agreement; unset: 0.5 and 0.85."""
    encoder: str = "all-minilm-l6-v2"
    """Catalogue name or folder of the sentence encoder, for `cosine`."""

    async def score(self, item: Item) -> float:
        """See `Scorer`. `cosine` computes in a thread, and raises CatalogueError where the encoder is missing."""
        return await asyncio.to_thread(self.judge, item) if self.by == "cosine" else self.judge(item)

    def judge(self, item: Item) -> float:
        """As `score`, at once."""
        if item.large_answer is None:
            raise DataError("`large_answer` is missing, and scorer 'agreement' compares with it; add it.")
        small, large = item.answer, item.large_answer
        if normalised(small) == normalised(large):
            return float(
                bool(small.strip()) or not large.strip()
            )  # "!" and "?" are no agreement of nothing with nothing
        if self.by == "equal" or contradict(small, large):
            return 0.0
        threshold = _THRESHOLDS[self.by] if self.threshold is None else self.threshold
        return float(self._nearness(small, large) >= threshold)

    def _nearness(self, small: str, large: str) -> float:
        if self.by == "f1":
            return bag_f1(normalised(small).split(), normalised(large).split())
        vectors = _encoder(self.encoder).encode([small, large])
        return float(vectors[0] @ vectors[1])


def contradict(left: str, right: str) -> bool:
    """Whether two texts differ in what word overlap and sentence vectors hardly see.

    >>> contradict("Yes, it is capped.", "No, it is capped."), contradict("It takes 18 days.", "It takes 17 days.")
    (True, True)
    """
    verdicts = [stated_verdict(text.strip().split(maxsplit=1)[0]) if text.strip() else None for text in (left, right)]
    if None not in verdicts and verdicts[0] != verdicts[1]:
        return True
    if max(len(left.split()), len(right.split())) > _SHORT_WORDS:
        return False
    one, other = last_number(left), last_number(right)
    return one is not None and other is not None and not same(one, other, 1e-4)


@lru_cache(maxsize=1)
def _encoder(name: str) -> Encoder:
    from serve_app.catalogue import resolve
    from serve_app.encoder import Encoder

    return Encoder(resolve(name).path)
