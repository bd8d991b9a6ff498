"""Several answers in the place of one, and how they become one (docs/ensembles.md).

members      who answers, and what each is asked
hearing      asks all at once: one group per node, side by side
normalise    what of two answers has to be equal
sureness     how sure each answer is
vote         the count, and when it is decided
strategy     vote, weighted vote, best of n
choosing     whole answers: hear, choose, escalate, settle
mixture      who takes part in lock step, with which weight
lock_step    one answer that all write together, streamed
large        the large model in their place
build        from settings to one of the two answerers
"""

from serve_app.patterns.ensemble.build import ensemble_of
from serve_app.patterns.ensemble.large import LargeModel

__all__ = ["LargeModel", "ensemble_of"]
