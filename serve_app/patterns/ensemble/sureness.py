"""How sure each answer of an ensemble is."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from serve_app.confidence import CascadePolicy, Evidence, acceptance
from serve_app.confidence.signals import mean_probability
from serve_app.config.named import named
from serve_app.core import ConfigError, Query
from serve_app.patterns.ensemble.hearing import Seat
from serve_app.patterns.shadow.report import shown_question
from serve_app.patterns.trace import Trace

_LOG = logging.getLogger(__name__)

Scorer = Callable[[str, str], float | Awaitable[float]]
"""Question and answer -> how good the answer is, in [0, 1]. One that is no coroutine function runs in a thread."""
PolicyOf = Callable[[], CascadePolicy | None]


class Sureness:
    """The acceptance model of the cascade's policy where it knows the adapter version, else the mean probability.

    Both are in [0, 1], and they are no common measure: where a policy knows some members only, weigh with care.
    """

    def __init__(self, small: str, policy_of: PolicyOf = lambda: None) -> None:
        """`small`: name of the node whose answers policies are fitted to. `policy_of`: the one in force."""
        self._small, self._policy_of = small, policy_of

    def of(self, seat: Seat, trace: Trace, agreement: float | None = None) -> float:
        """Of a whole answer. `agreement`: share of the other answers that are equal to it."""
        attempt, tokens = seat.attempt, seat.tokens
        policy = self._policy_of() if attempt.node == self._small else None
        if policy is not None:
            num_prompt, score = attempt.usage.prompt_tokens, trace.passage_score
            evidence = Evidence(tokens, True, trace.route, num_prompt, agreement, score)
            found = acceptance(policy, evidence, attempt.adapter_version)
            if found is not None:
                return found
        return mean_probability(tokens)


def named_scorer(text: str) -> Scorer:
    """The function that `ensemble.scorer` names. Raises ConfigError where there is none."""
    try:
        found: Scorer = named(text)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"ensemble.scorer {text!r} cannot be imported: {error}.") from error
    if not callable(found):
        raise ConfigError(f"ensemble.scorer {text!r} cannot be called; name a function.")
    return found


async def scored(scorer: Scorer, seat: Seat, query: Query) -> float | None:
    """What the scorer says of an answer; None, with a line in the log, where it fails or says no share."""
    question, answer = shown_question(query), seat.text
    try:
        if inspect.iscoroutinefunction(scorer):
            score = float(await scorer(question, answer))
        else:
            score = float(await asyncio.to_thread(scorer, question, answer))  # type: ignore[arg-type]
        if not 0 <= score <= 1:
            raise ValueError(f"it gave {score}, which is not between 0 and 1")
    except Exception:  # code of the user's: its mistake shall not cost the client an answer
        _LOG.exception("ensemble.scorer failed on the answer of %s", seat.attempt.call.call_id)
        return None
    return score
