"""From logits to tokens, and what was seen: log-probability, entropy, margin, alternatives (float32, temperature 1).

A row draws one uniform number per token from its own stream and inverts the cumulative distribution with it, so a
seeded answer does not depend on which other rows are in the batch, nor on the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from serve_app.engine.request import Row, SampledToken

_LEAST = -1e4
"""Stands for log 0, so that an impossible token adds 0 to the entropy and not 0 x -inf."""
_GREEDY_BELOW = 1e-5
"""A lower temperature is greedy: divided by it, log-probabilities overflow float32 and nothing would be left."""
_NUCLEUS_GUESS = 1024
"""Tokens sorted for top_p before falling back to the whole vocabulary: a full sort costs more than the lm_head."""


def sample(logits: torch.Tensor, rows: Sequence[Row]) -> list[SampledToken | None]:
    """Choose the next token of each row from logits [num_rows, vocab]. None for a row whose logits are not finite."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    # Entropy and not the logits themselves: a NaN or +inf anywhere in a row shows here, and -inf is a legal logit.
    entropy = -(logprobs.exp() * logprobs.clamp(min=_LEAST)).sum(-1)
    num_top = max(2, *(row.request.top_logprobs for row in rows)) if rows else 2
    top = logprobs.topk(min(num_top, logprobs.shape[-1]), dim=-1)
    top_ids, top_logprobs = top.indices.tolist(), top.values.tolist()
    sane = torch.isfinite(entropy).tolist()
    chosen = [_choose(logprobs[at], top_ids[at][0], row) if sane[at] else 0 for at, row in enumerate(rows)]
    chosen_logprobs = logprobs.gather(1, torch.tensor(chosen, device=logprobs.device)[:, None])[:, 0].tolist()
    entropies = entropy.tolist()
    return [
        SampledToken(
            token_id=chosen[at],
            logprob=chosen_logprobs[at],
            entropy=max(0.0, entropies[at]),
            margin=top_logprobs[at][0] - top_logprobs[at][1],
            top=tuple(zip(top_ids[at], top_logprobs[at], strict=True))[: row.request.top_logprobs],
        )
        if sane[at]
        else None
        for at, row in enumerate(rows)
    ]


def _choose(logprobs: torch.Tensor, best: int, row: Row) -> int:
    """The row's next token from its log-probabilities [vocab]."""
    request = row.request
    if request.temperature < _GREEDY_BELOW:
        return best
    probabilities = torch.softmax(logprobs / request.temperature, dim=-1)
    uniform = row.random.random()
    if request.top_p >= 1:
        return _invert(probabilities, uniform)
    nucleus = _nucleus(probabilities, request.top_p)
    return int(nucleus[_invert(probabilities[nucleus], uniform)])


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Ids of the fewest most probable tokens that together reach `top_p`; at least one."""
    top = probabilities.topk(min(_NUCLEUS_GUESS, probabilities.shape[0]))
    if float(top.values.sum()) < top_p and probabilities.shape[0] > _NUCLEUS_GUESS:
        top = probabilities.sort(descending=True)
    before = top.values.cumsum(0) - top.values
    wanted = before < top_p
    wanted[0] = True  # a top_p too small for float32 is 0 there
    return top.indices[wanted]


def _invert(weights: torch.Tensor, uniform: float) -> int:
    """The place where the cumulative sum of `weights` passes `uniform` of the whole; float64 against long sums."""
    cumulative = weights.double().cumsum(0)
    place = torch.searchsorted(cumulative, cumulative[-1:] * uniform, right=True)
    return min(int(place), len(weights) - 1)
