"""When rows guess ahead: a drafter per row (drafter.py), as long as the batch is small enough for guesses to be free.

A forward pass reads all weights whatever its number of tokens, so up to some tokens a pass costs what one token costs;
beyond that a guess takes the time of a sure token.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve_app.engine.drafter import NgramDrafter
from serve_app.engine.request import Row, SampledToken

FREE_TOKENS = 8
"""Tokens of a pass, guesses included, up to which rows guess."""


class Drafting:
    """The drafters of the rows that are being answered. `draft_tokens`: most guesses per row; 0 turns it off."""

    def __init__(self, draft_tokens: int) -> None:
        self._draft_tokens = draft_tokens
        self._drafters: dict[Row, NgramDrafter] = {}

    def learn(self, row: Row, tokens: Sequence[SampledToken]) -> None:
        """Take in a row's new tokens, and its prompt with the first."""
        row.draft_ids = ()
        if self._draft_tokens == 0 or row.request.ensemble is not None:
            return
        drafter = self._drafters.get(row)
        if drafter is None:
            drafter = self._drafters[row] = NgramDrafter()
            drafter.extend(row.request.prompt_ids)
        for token in tokens:
            drafter.add(token.token_id)

    def propose(self, rows: Sequence[Row]) -> None:
        """Set the rows' drafts for the next step. `rows` are all there are: what was learnt of others is dropped,
        since rows that were cancelled or late leave without a word."""
        if not self._drafters:
            return
        self._drafters = {row: self._drafters[row] for row in rows if row in self._drafters}
        each = min(self._draft_tokens, FREE_TOKENS // max(1, len(rows)) - 1)
        for row in rows:
            drafter = self._drafters.get(row)
            row.draft_ids = drafter.propose(each) if drafter is not None and each > 0 else ()

    def forget(self, row: Row) -> None:
        """The row has left."""
        self._drafters.pop(row, None)
