"""How large a share of the calls each key has had lately. No clock: whoever calls says what time it is."""

_FORGOTTEN = 0.05
_TIDY_ABOVE = 1024


class Popularity:
    """Counts of which half is forgotten every `half_life_s` seconds.

    `prior_calls` calls of nobody are part of the sum, so that the first call is not all the traffic there is.
    """

    def __init__(self, half_life_s: float = 60.0, prior_calls: float = 20.0) -> None:
        self._half_life_s, self._prior_calls = half_life_s, prior_calls
        self._counts: dict[str, tuple[float, float]] = {}
        """Key -> its count, and when that was right."""
        self._total = (0.0, 0.0)
        self._tidy_above = _TIDY_ABOVE

    def seen(self, key: str | None, now_s: float) -> None:
        """One more call; None: of no key, which is a part of the traffic too. Times do not go back."""
        self._total = (self._left(self._total, now_s) + 1.0, now_s)
        if key is None:
            return
        self._counts[key] = (self._left(self._counts.get(key, (0.0, now_s)), now_s) + 1.0, now_s)
        if len(self._counts) > self._tidy_above:
            self._counts = {one: kept for one, kept in self._counts.items() if self._left(kept, now_s) > _FORGOTTEN}
            self._tidy_above = max(_TIDY_ABOVE, 2 * len(self._counts))

    def share(self, key: str, now_s: float) -> float:
        """Of all calls, from 0 to below 1."""
        count = self._left(self._counts.get(key, (0.0, now_s)), now_s)
        return count / (self._left(self._total, now_s) + self._prior_calls)

    def _left(self, kept: tuple[float, float], now_s: float) -> float:
        count, at_s = kept
        return float(count * 0.5 ** (max(0.0, now_s - at_s) / self._half_life_s))
