"""From logits to tokens, and what was seen: log-probability, entropy, margin, alternatives (float32, temperature 1).

A row takes one uniform number per token of its answer from its own stream and inverts the cumulative distribution with
it, so a seeded answer depends neither on the rows beside it nor on how many of its tokens were guessed beforehand.

A draft is checked exactly: each of its positions is sampled as if there were no draft, and the tokens hold up to and
including the first that differs from its guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

import torch

from serve_app.engine.draw import alternatives, draw, is_greedy
from serve_app.engine.request import SampledToken, Segment

_LEAST = -1e4
"""Stands for log 0, so that an impossible token adds 0 to the entropy and not 0 x -inf."""


@dataclass(frozen=True, slots=True)
class LogitStats:
    """What one pass over logits [num_rows, vocab] tells. All are [num_rows], on the device of the logits."""

    best_ids: torch.Tensor
    """int64: the token with the largest logit, the lowest such id on ties."""
    best: torch.Tensor
    """float32: the largest logit."""
    second: torch.Tensor
    """float32: the second largest, equal to `best` on ties; -inf where the vocabulary holds one token."""
    log_sum_exp: torch.Tensor
    """float32: log-probability is logit minus this."""
    entropy: torch.Tensor
    """float32, nats. NaN where a logit is NaN or +inf, or all are -inf: the row's other statistics mean nothing."""


Stats = Callable[[torch.Tensor], LogitStats]
"""Computes the statistics of logits [num_rows, vocab] of any float type, without changing them."""


def logit_stats(logits: torch.Tensor) -> LogitStats:
    """See Stats; in plain torch."""
    values = logits.float()
    best, best_ids = values.max(-1)
    shifted = values - best[:, None]
    weights = shifted.exp()
    total = weights.sum(-1)
    entropy = total.log() - shifted.clamp_(min=_LEAST).mul_(weights).sum(-1) / total
    second = values.scatter(1, best_ids[:, None], -math.inf).amax(-1)
    return LogitStats(best_ids, best, second, best + total.log(), entropy)


def sample(
    logits: torch.Tensor, segments: Sequence[Segment], stats: Stats = logit_stats
) -> list[tuple[SampledToken, ...] | None]:
    """The next tokens of each segment from logits [sum of segment.sampled, vocab], a segment's rows consecutive.

    One token, and one more for each guess that held; fewer where the logits after them are not finite, and None where
    the first are not. The members of an ensemble all get the tokens that the first of them draws from the average of
    their distributions; one member that is not finite makes them all None. Changes only the rows' random streams.
    """
    if not segments:
        return []
    groups: dict[str | int, list[int]] = {}
    for at, segment in enumerate(segments):
        ensemble = segment.row.request.ensemble
        groups.setdefault(at if ensemble is None else ensemble.ensemble_id, []).append(at)
    if len(groups) == len(segments):
        return _sample(logits, segments, stats)
    spans = _spans(segments)
    leaders = [segments[members[0]] for members in groups.values()]
    averages = [
        _average(
            [logits[spans[at].start : spans[at].stop] for at in group],
            [segments[at].row.request.weight for at in group],
        )
        for group in groups.values()
    ]
    outcomes: list[tuple[SampledToken, ...] | None] = [None] * len(segments)
    for members, tokens in zip(groups.values(), _sample(torch.cat(averages), leaders, stats), strict=True):
        for at in members:
            outcomes[at] = tokens
        for at in members[1:]:  # their streams keep step: the next leads when those before it are cancelled
            _Turn(segments[at], range(len(tokens or ())))
    return outcomes


class _Turn:
    """A segment whose tokens are being chosen, at those rows of the logits that are finite, from the first on."""

    def __init__(self, segment: Segment, places: Iterable[int]) -> None:
        self.segment = segment
        self.places = list(places)
        self.greedy = is_greedy(segment.row.request.temperature)
        self._stream = segment.row.random
        # Saved only where numbers may have to be given back: a state costs as much as hundreds of numbers.
        self._state = self._stream.getstate() if len(self.places) > 1 and not self.greedy else None
        self.uniforms = [] if self.greedy else [self._stream.random() for _ in self.places]

    def settle(self, token_ids: Sequence[int]) -> None:
        """Keep the places whose tokens hold, up to and including the first that differs from its guess.

        `token_ids` are by row of the logits. The stream is left as if no other place had been sampled.
        """
        guesses = self.segment.token_ids[len(self.segment.token_ids) - self.segment.sampled + 1 :]
        held = [token_ids[place] == guess for place, guess in zip(self.places, guesses, strict=False)]
        num_kept = min(len(self.places), 1 + sum(takewhile(bool, held)))
        if self._state is not None and num_kept < len(self.places):
            self._stream.setstate(self._state)
            for _ in range(num_kept):
                self._stream.random()
        del self.places[num_kept:]


@dataclass(frozen=True, slots=True)
class _Seen:
    """LogitStats as lists, with the chosen tokens and their logits; all by row of the logits."""

    best_ids: list[int]
    best: list[float]
    second: list[float]
    log_sum_exp: list[float]
    entropy: list[float]
    token_ids: list[int]
    """The best ones, until others are drawn. Like `logits`."""
    logits: list[float]

    @classmethod
    def of(cls, stats: LogitStats) -> _Seen:
        """Two transfers from the device, whatever the number of rows."""
        best_ids: list[int] = stats.best_ids.tolist()
        best, second, log_sum_exp, entropy = torch.stack(
            (stats.best, stats.second, stats.log_sum_exp, stats.entropy)
        ).tolist()
        return cls(best_ids, best, second, log_sum_exp, entropy, token_ids=list(best_ids), logits=list(best))

    def token(self, place: int, top: Sequence[tuple[int, float]]) -> SampledToken:
        """What was chosen at a row of the logits; `top` are its alternatives and their logits."""
        whole = self.log_sum_exp[place]
        return SampledToken(
            token_id=self.token_ids[place],
            logprob=min(0.0, self.logits[place] - whole),
            entropy=max(0.0, self.entropy[place]),
            margin=self.best[place] - self.second[place],
            top=tuple((token_id, min(0.0, logit - whole)) for token_id, logit in top),
        )


def _sample(logits: torch.Tensor, segments: Sequence[Segment], stats: Stats) -> list[tuple[SampledToken, ...] | None]:
    """See `sample`; each segment is on its own."""
    seen = _Seen.of(stats(logits))
    # Places behind one that is not finite are given up: the next step comes to that one again, and fails there.
    finite = [takewhile(lambda at: math.isfinite(seen.entropy[at]), span) for span in _spans(segments)]
    turns = [_Turn(segment, places) for segment, places in zip(segments, finite, strict=True)]
    _draw(logits, [turn for turn in turns if turn.uniforms], seen)
    for turn in turns:
        turn.settle(seen.token_ids)
    top = _top(logits, turns, seen)
    return [tuple(seen.token(place, top.get(place, ())) for place in turn.places) or None for turn in turns]


def _draw(logits: torch.Tensor, turns: Sequence[_Turn], seen: _Seen) -> None:
    """Draw the tokens of the turns, none of them greedy, and enter them in `seen`."""
    places = [place for turn in turns for place in turn.places]
    if not places:
        return
    requests = [turn.segment.row.request for turn in turns for _ in turn.places]
    drawn = logits[places].float()
    ids = draw(
        drawn,
        [request.temperature for request in requests],
        [request.top_p for request in requests],
        [uniform for turn in turns for uniform in turn.uniforms],
    )
    values = drawn.gather(1, ids[:, None])[:, 0]
    for place, token_id, value in zip(places, ids.tolist(), values.tolist(), strict=True):
        seen.token_ids[place], seen.logits[place] = token_id, value


def _top(logits: torch.Tensor, turns: Sequence[_Turn], seen: _Seen) -> dict[int, list[tuple[int, float]]]:
    """The alternatives asked for, by row of the logits: (token id, logit), best first."""
    asked = {place: turn.segment.row.request.top_logprobs for turn in turns for place in turn.places}
    places = [place for place, count in asked.items() if count]
    if not places:
        return {}
    best_ids, counts = [seen.best_ids[place] for place in places], [asked[place] for place in places]
    return dict(zip(places, alternatives(logits[places], best_ids, counts), strict=True))


def _spans(segments: Sequence[Segment]) -> list[range]:
    """For each segment, its rows of the logits."""
    ends = accumulate(segment.sampled for segment in segments)
    return [range(end - segment.sampled, end) for segment, end in zip(segments, ends, strict=True)]


def _average(members: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Weighted mean of the members' log-probabilities [sampled, vocab]: unnormalised ones of their geometric mean.

    The logarithmic opinion pool (Heskes 1998, "Selecting weighting factors in logarithmic opinion pools"), a product
    of experts (Hinton 2002) whose exponents add up to 1. It is the distribution nearest to all members by the weighted
    sum of KL(pool, member): where they agree it is no surer than they are, and what one of them finds impossible is
    out. The mean of the probabilities would keep every member's own errors alive in proportion to its weight, and
    switch between their sentences from token to token.
    """
    if len(members) == 1:
        return members[0].float()
    total = sum(weights)
    shares = torch.tensor([weight / total for weight in weights], dtype=torch.float32, device=members[0].device)
    return (torch.log_softmax(torch.stack(tuple(members)).float(), dim=-1) * shares[:, None, None]).sum(0)
