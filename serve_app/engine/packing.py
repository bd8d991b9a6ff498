"""Which tokens the next step processes: the rows' decode tokens, chunks of prompts, and drafts. Pure functions.

The step's tokens are given out in this order:

    1. the newest output token of every decoding row
    2. prompts, row after row in the order of `turn`; the last row that gets any may be cut
    3. drafts, as much of them as fits: they only save time, so a prompt is not held up for one

The members of an ensemble get their last prompt tokens in the same step: where the rest of their prompts does not fit
as a whole, each stops short of its last token. From then on they decode in the same steps, as every row does, and
without drafts: one draft left out would put them out of step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from serve_app.engine.request import Row, Segment


def lay_out(rows: Sequence[Row], step_tokens: int, turn: Callable[[Row], Any]) -> tuple[Segment, ...]:
    """At most `step_tokens` tokens of these rows, of which there may be no more than `step_tokens`.

    `turn`: sort key of rows that still have prompt tokens ahead. What does not fit of a draft is taken off its row.
    Segments of the same adapter are neighbours. Empty only if there are no rows.
    """
    decoding = [row for row in rows if not row.prefilling]
    prefilling = sorted((row for row in rows if row.prefilling), key=turn)
    chunks, left = _chunks(prefilling, step_tokens - len(decoding))
    segments = [*_decodes(decoding, left), *chunks]
    segments.sort(key=lambda segment: -1 if segment.row.adapter_slot is None else segment.row.adapter_slot)
    return tuple(segments)


def num_ahead(row: Row) -> int:
    """Prompt tokens that are still to be processed."""
    return len(row.request.prompt_ids) - row.num_prefilled


def _chunks(prefilling: Sequence[Row], budget: int) -> tuple[list[Segment], int]:
    """Chunks of prompts, and the tokens left over."""
    groups: dict[object, list[Row]] = {}
    for row in prefilling:
        ensemble = row.request.ensemble
        groups.setdefault(row if ensemble is None else ensemble.ensemble_id, []).append(row)
    chunks: list[Segment] = []
    for group in groups.values():
        whole = sum(map(num_ahead, group)) <= budget
        for row in group:
            num_tokens = num_ahead(row) if whole else min(num_ahead(row) - 1, budget)
            if num_tokens:
                chunks.append(_chunk(row, num_tokens))
                budget -= num_tokens
    return chunks, budget


def _chunk(row: Row, num_tokens: int) -> Segment:
    prompt_ids, end = row.request.prompt_ids, row.num_prefilled + num_tokens
    return Segment(row, row.num_prefilled, prompt_ids[row.num_prefilled : end], int(end == len(prompt_ids)))


def _decodes(decoding: Sequence[Row], budget: int) -> list[Segment]:
    """One token for each row, and of the drafts what fits in `budget` and in the rows' answers."""
    segments: list[Segment] = []
    for row in decoding:
        num_allowed = min(budget, row.request.max_tokens - len(row.output_ids) - 1)
        row.draft_ids = row.draft_ids[:num_allowed] if row.request.ensemble is None else ()
        budget -= len(row.draft_ids)
        segments.append(Segment(row, row.num_cached, (row.output_ids[-1], *row.draft_ids), 1 + len(row.draft_ids)))
    return segments
