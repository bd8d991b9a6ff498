"""Tokens drawn from logits with given uniform numbers. Knows tensors and parameters; no rows, no random streams.

A row of the batch is computed the same whatever the others are: normalised and summed on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_GREEDY_BELOW = 1e-5
_HOTTEST = 1e30
"""A higher temperature counts as this one, which float32 still holds: -inf / inf would not be -inf."""
_NUCLEUS_GUESS = 1024
_NUCLEUS_GROWTH = 8
"""Tokens sorted for top_p at first, and how many times more at each further try: a full sort costs more than the
lm_head."""
_BLOCK = 64
"""Neighbouring tokens that are summed before it is known which of them is drawn."""


def is_greedy(temperature: float) -> bool:
    """Whether so low a temperature means the best token: divided by it, logits overflow and nothing would be left."""
    return temperature < _GREEDY_BELOW


def draw(
    logits: torch.Tensor, temperatures: Sequence[float], top_ps: Sequence[float], uniforms: Sequence[float]
) -> torch.Tensor:
    """Ids [num_rows] int64 drawn from finite float32 logits [num_rows, vocab], with one uniform in [0, 1) per row.

    `top_p` keeps the fewest most probable tokens that together reach it, at least one; 1 or more keeps all.
    """
    device = logits.device
    held = [min(temperature, _HOTTEST) for temperature in temperatures]
    scale = torch.tensor(held, dtype=torch.float32, device=device)[:, None]
    probabilities = torch.softmax((logits - logits.amax(-1, keepdim=True)) / scale, dim=-1)
    uniform = torch.tensor(uniforms, dtype=torch.float64, device=device)[:, None]
    narrow = [at for at, top_p in enumerate(top_ps) if top_p < 1]
    if not narrow:
        return _invert(probabilities, uniform)
    top_p = torch.tensor([top_ps[at] for at in narrow], dtype=torch.float64, device=device)[:, None]
    if len(narrow) == len(top_ps):
        return _invert_nucleus(probabilities, top_p, uniform)
    wide = [at for at, top_p in enumerate(top_ps) if top_p >= 1]
    ids = torch.empty(len(top_ps), dtype=torch.int64, device=device)
    ids[wide] = _invert(probabilities[wide], uniform[wide])
    ids[narrow] = _invert_nucleus(probabilities[narrow], top_p, uniform[narrow])
    return ids


def alternatives(logits: torch.Tensor, best_ids: Sequence[int], counts: Sequence[int]) -> list[list[tuple[int, float]]]:
    """The `counts[i]` best tokens of row i of logits [num_rows, vocab] and their logits, best first.

    The first is `best_ids[i]`, also where others are as good.
    """
    top = logits.float().topk(min(max(counts), logits.shape[-1]), dim=-1)
    found = []
    for best_id, count, ids, values in zip(best_ids, counts, top.indices.tolist(), top.values.tolist(), strict=True):
        others = [token_id for token_id in ids if token_id != best_id]
        found.append(list(zip([best_id, *others], values, strict=False))[:count])
    return found


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Where the cumulative sum of `weights` [num_rows, vocab] passes `uniform` [num_rows, 1] of the whole.

    Blocks first, then the tokens of one block: a running sum over the vocabulary costs more than all else here. In
    float64, against long sums.
    """
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    wanted = ends[:, -1:] * uniform
    block = torch.searchsorted(ends, wanted, right=True).clamp(max=ends.shape[-1] - 1)
    before = torch.nn.functional.pad(ends, (1, 0)).gather(1, block)
    inside = blocks.take_along_dim(block[:, :, None], dim=1)[:, 0]
    cumulative = inside.cumsum(-1, dtype=torch.float64)
    place = torch.searchsorted(cumulative, wanted - before, right=True)
    last_possible = (cumulative < cumulative[:, -1:]).sum(-1, keepdim=True)  # the two sums may differ in the last bit
    return (block * _BLOCK + place.minimum(last_possible))[:, 0]


def _invert_nucleus(
    probabilities: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor, num_sorted: int = _NUCLEUS_GUESS
) -> torch.Tensor:
    """Like `_invert` over the nucleus, most probable token first; `top_p` and `uniform` [num_rows, 1] float64."""
    vocab = probabilities.shape[-1]
    top = probabilities.topk(min(num_sorted, vocab), dim=-1)
    cumulative = top.values.cumsum(-1, dtype=torch.float64)
    # Counted by what comes before a token, so that the one which reaches top_p is in; the first always is.
    num_kept = (cumulative - top.values < top_p).sum(-1, keepdim=True).clamp(min=1)
    mass = cumulative.gather(1, num_kept - 1)
    place = torch.searchsorted(cumulative, mass * uniform, right=True).minimum(num_kept - 1)
    ids = top.indices.gather(1, place)[:, 0]
    if num_sorted < vocab:
        short = (cumulative[:, -1] < top_p[:, 0]).nonzero()[:, 0]
        if len(short):
            ids[short] = _invert_nucleus(
                probabilities[short], top_p[short], uniform[short], num_sorted * _NUCLEUS_GROWTH
            )
    return ids
