"""Money and tokens, counted side by side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """So many nano-dollars, and so many tokens. False when both are zero.

    >>> Amount(5, 100) + Amount(1) - Amount(0, 40)
    Amount(nusd=6, tokens=60)
    """

    nusd: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.nusd + other.nusd, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.nusd - other.nusd, self.tokens - other.tokens)

    def __bool__(self) -> bool:
        return bool(self.nusd or self.tokens)

    def at_least(self, other: Amount) -> Amount:
        """The larger of each.

        >>> Amount(5, 100).at_least(Amount(7, 3))
        Amount(nusd=7, tokens=100)
        """
        return Amount(max(self.nusd, other.nusd), max(self.tokens, other.tokens))


NOTHING = Amount()
