"""Yes, no or maybe, as an answer states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from serve_app.core import DataError
from serve_app.labelling.item import Item, PureScorer
from serve_app.labelling.scorers.needs import reference_of
from serve_app.labelling.texts import stated_verdict


@dataclass(frozen=True, slots=True)
class Verdict(PureScorer):
    """The verdict that the answer states against the one that the reference states; none stated is wrong.

    >>> Verdict().judge(Item("Is it capped?", "Maybe: the clause does not say.", "maybe"))
    1.0
    """

    name: ClassVar[str] = "verdict"
    verdicts: tuple[str, ...] = ("yes", "no", "maybe")

    def judge(self, item: Item) -> float:
        """See `Scorer`."""
        known = tuple(verdict.lower() for verdict in self.verdicts)
        reference = stated_verdict(reference_of(item, self.name), known)
        if reference is None:
            raise DataError(f"`reference` states none of {', '.join(known)}; correct it or choose another scorer.")
        return float(stated_verdict(item.answer, known) == reference)
