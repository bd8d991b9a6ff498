"""How much quality a score buys for a share of strong calls: APGR and CPT of RouteLLM (Ong et al., arXiv:2406.18665).

A score says how much the large model is wanted; `small` and `large` are the two models' scores of each query, in any
unit; all are (num_rows,). Written from the description of the recipe, not from its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.confidence.model import FloatArray

NUM_BINS = 10


@dataclass(frozen=True)
class Curve:
    """Quality against the share of calls that go to the large model, at the edges of equally filled bins of scores."""

    share: FloatArray
    """(NUM_BINS + 1,), from 0 to 1."""
    quality: FloatArray
    """(NUM_BINS + 1,), mean score of the answers sent."""

    @property
    def span(self) -> float:
        """Quality of always-large minus that of always-small."""
        return float(self.quality[-1] - self.quality[0])

    @property
    def apgr(self) -> float | None:
        """Average performance gap recovered: .5 is what chance gets; None where the large model is no better.

        >>> curve(np.array([0.1, 0.9]), small=np.array([1.0, 0.0]), large=np.array([1.0, 1.0])).apgr
        0.75
        """
        if self.span <= 0:
            return None
        area = np.sum((self.quality[1:] + self.quality[:-1]) / 2 * np.diff(self.share))
        return float((area - self.quality[0]) / self.span)

    def cpt(self, recovered: float) -> float | None:
        """Call-performance threshold: share of large calls, in percent, that recovers so much of the gap.

        As in RouteLLM by numpy.interp over the qualities, which is exact where the curve rises; None as for `apgr`.
        """
        if self.span <= 0:
            return None
        return float(np.interp(self.quality[0] + recovered * self.span, self.quality, self.share)) * 100


def curve(score: FloatArray, small: FloatArray, large: FloatArray) -> Curve:
    """The points of a score. Equal scores are never split: a coarse score has fewer points."""
    edges = np.quantile(score, np.linspace(0, 1, NUM_BINS + 1))
    order = np.argsort(score, kind="stable")[::-1]
    ranked = score[order]
    counts = np.searchsorted(-ranked, -edges, side="right")
    counts[-1] = 0  # at the top edge nobody is sent
    gained = np.concatenate([[0.0], np.cumsum((large - small)[order])])
    counts = np.sort(counts)
    return Curve(counts / len(score), float(small.mean()) + gained[counts] / len(score))
