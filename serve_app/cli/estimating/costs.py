"""What each tried request costs now, with the large model alone, and what it would cost behind Headrace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from serve_app.cli.estimating.outcome import Tried
from serve_app.core import Usage
from serve_app.ledger import PriceBook

IntArray = np.ndarray[Any, np.dtype[np.int64]]
Basis = Literal["log", "measured", "estimated"]

_CHARACTERS_PER_TOKEN = 4.0
"""Of English text, where nothing of the log says otherwise."""


@dataclass(frozen=True, slots=True)
class Models:
    """Names under `prices.models`."""

    now: str
    """What answers everything today."""
    small: str
    large: str
    """What Headrace escalates to."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Nano-dollars of each request, (num_requests,), and where the token counts of the large answers come from."""

    now: IntArray
    headrace: IntArray
    basis: tuple[Basis, ...]


def costs(tried: Sequence[Tried], prices: PriceBook, models: Models) -> Costs:
    """Both sides count a large answer with the same tokens, so that no tokenizer looks like a saving.

    Raises ConfigError for a model without a price.
    """
    lengths = _Lengths(tried)
    large = [lengths.large_usage(one) for one in tried]
    now = [prices.cost_nusd(models.now, usage) for usage, _ in large]
    headrace = []
    for one, (usage, _) in zip(tried, large, strict=True):
        small_nusd = 0 if one.small_usage is None else prices.cost_nusd(models.small, one.small_usage)
        headrace.append(small_nusd + (0 if one.accepted else prices.cost_nusd(models.large, usage)))
    return Costs(np.array(now, np.int64), np.array(headrace, np.int64), tuple(basis for _, basis in large))


class _Lengths:
    """Token counts where nobody counted: from the characters, at the rate of the answers that were counted."""

    def __init__(self, tried: Sequence[Tried]) -> None:
        whole = [one for one in tried if one.accepted and one.small_answer and one.small_usage]
        characters = sum(len(one.small_answer or "") for one in whole)
        num_tokens = sum(one.small_usage.completion_tokens for one in whole if one.small_usage)
        self._rate = characters / num_tokens if characters and num_tokens else _CHARACTERS_PER_TOKEN
        known = [one.large_usage.completion_tokens for one in tried if one.large_usage]
        known += [self._tokens(one.large_answer) for one in tried if one.large_answer and not one.large_usage]
        known = known or [self._tokens(one.small_answer) for one in tried if one.small_answer]
        self._usual_tokens = round(sum(known) / len(known)) if known else 0

    def large_usage(self, one: Tried) -> tuple[Usage, Basis]:
        """What the large answer took; one of unknown text has the length of the usual one."""
        if one.large_usage is not None:
            return one.large_usage, "measured" if one.measured else "log"
        prompt = "".join(str(turn.get("content") or "") for turn in one.request.body["messages"])
        prompt_tokens = one.small_usage.prompt_tokens if one.small_usage else self._tokens(prompt)
        if one.large_answer is not None:
            return Usage(prompt_tokens, 0, self._tokens(one.large_answer)), "estimated"
        return Usage(prompt_tokens, 0, self._usual_tokens), "estimated"

    def _tokens(self, text: str | None) -> int:
        return max(1, round(len(text or "") / self._rate))
