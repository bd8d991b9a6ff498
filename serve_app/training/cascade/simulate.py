"""What a rule would have done with labelled attempts: who is accepted, what is billed, how good the answers are.

An early escalation is billed for the tokens that were judged, as in production; the large model's bill is what it
used, or, where it was not asked, its price on the small answer's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.confidence.model import FloatArray
from serve_app.confidence.policy import CascadePolicy, RoutePolicy
from serve_app.confidence.rule import AcceptanceRule
from serve_app.confidence.stages import deciding_stage
from serve_app.config import Settings
from serve_app.core import DataError
from serve_app.ledger.rates import token_rates
from serve_app.training.cascade.outcomes import LabelledAttempt
from serve_app.training.cascade.scores import confidence_of, kept, probabilities_of, skipped
from serve_app.training.cascade.table import BoolArray, Table


@dataclass(frozen=True)
class Prices:
    """Nano-dollars a token."""

    small_prompt: float
    small_completion: float
    large_prompt: float
    large_completion: float


def prices_of(settings: Settings) -> Prices:
    """What tokens of the small and of the large model of the settings cost."""
    models = settings.prices.models
    small, large = (token_rates(models[node.model]) for node in (settings.specialists, settings.fallback))
    return Prices(
        small.prompt / small.denominator,
        small.completion / small.denominator,
        large.prompt / large.denominator,
        large.completion / large.denominator,
    )


@dataclass(frozen=True)
class Replay:
    """One decision a row; arrays (num_rows,)."""

    accepted: BoolArray
    tried: BoolArray
    """The small model was asked."""
    judged_tokens: FloatArray
    """Seen when the decision fell, 0 where the query alone decided: what a client waits for before the first token."""
    billed_tokens: FloatArray
    """Generated tokens of the small attempt that are billed."""

    def quality(self, table: Table) -> FloatArray:
        """Score of the answer that is given; NaN where that is the large model's and it was not asked."""
        return np.where(self.accepted, table.small_right, table.large_right)

    def cost_nusd(self, table: Table, prices: Prices) -> FloatArray:
        """Of all attempts of each query."""
        small = table.small_prompt_tokens * prices.small_prompt + self.billed_tokens * prices.small_completion
        return np.where(self.tried, small, 0.0) + np.where(self.accepted, 0.0, always_large_nusd(table, prices))


def always_large_nusd(table: Table, prices: Prices) -> FloatArray:
    """What the large model alone costs for each query (num_rows,)."""
    unasked = np.isnan(table.large_completion_tokens)
    prompt = np.where(unasked, table.small_prompt_tokens, table.large_prompt_tokens)
    completion = np.where(unasked, table.small_completion_tokens, table.large_completion_tokens)
    return prompt * prices.large_prompt + completion * prices.large_completion


def replay(rule: AcceptanceRule, attempts: Sequence[LabelledAttempt]) -> Replay:
    """Any rule, asked as the cascade asks it, one row after the other."""
    decided = [_decide(rule, attempt) for attempt in attempts]
    accepted, tried = (np.array([row[column] for row in decided], dtype=bool) for column in (0, 1))
    judged = np.array([tokens for _, _, tokens in decided], dtype=np.float64)
    num_tokens = np.array([len(attempt.tokens) for attempt in attempts], dtype=np.float64)
    completion = np.array([attempt.small_usage.completion_tokens for attempt in attempts], dtype=np.float64)
    return _bill(accepted, tried, judged, num_tokens, completion)


def replay_policy(policy: CascadePolicy, table: Table, threshold: float | None = None) -> Replay:
    """As `replay` with the policy's rule, all rows at once; `threshold` in place of those of all routes where given.

    Routes and versions that the policy does not know are escalated. Raises DataError where the rows were tabulated at
    other checkpoints than the policy's.
    """
    if table.checkpoints != policy.checkpoints:
        raise DataError(f"The rows are tabulated at {table.checkpoints} and the policy looks at {policy.checkpoints}.")
    accepted, tried = np.zeros(len(table), dtype=bool), np.ones(len(table), dtype=bool)
    judged = np.full(len(table), np.nan)
    for key in table.groups:
        rows = np.flatnonzero(table.of_group(key))
        cut, found = table.take(rows), policy.find(*key)
        limits = [other.threshold if threshold is None else threshold for other in policy.of_route(key[0])]
        limit = found.threshold if found is not None and threshold is None else threshold
        if all(other is None for other in limits):
            tried[rows], judged[rows] = False, 0.0
            continue
        tried[rows] = ~skipped(cut.gain, policy.skip_small_above)
        if found is None or limit is None:
            judged[rows] = _first_look(policy, cut)
        else:
            accepted[rows] = confidence_of(found, cut, policy.skip_small_above, policy.keep_small_below) > limit
            unjudged = kept(cut.gain, policy.keep_small_below)
            judged[rows] = np.where(unjudged, _first_look(policy, cut), _looks(found, cut, limit))
        judged[rows[~tried[rows]]] = 0.0
    return _bill(accepted, tried, judged, table.num_tokens.astype(np.float64), table.small_completion_tokens)


def _decide(rule: AcceptanceRule, attempt: LabelledAttempt) -> tuple[bool, bool, float]:
    """Accepted, tried, and at which token; NaN is the end."""
    early = rule.before(attempt.route_score)
    if early is not None:
        return early.accept, early.accept, 0.0
    for num_tokens in rule.checkpoints:
        if len(attempt.tokens) > num_tokens:
            decision = rule.judge(attempt.evidence(num_tokens), attempt.adapter_version)
            if decision is not None:
                return decision.accept, True, num_tokens
    decision = rule.judge(attempt.evidence(), attempt.adapter_version)
    return decision is not None and decision.accept, True, np.nan


def _bill(
    accepted: BoolArray, tried: BoolArray, judged: FloatArray, num_tokens: FloatArray, completion: FloatArray
) -> Replay:
    at_the_end = np.isnan(judged)
    billed = np.where(accepted | at_the_end, completion, judged)
    return Replay(accepted, tried, np.where(at_the_end, num_tokens, judged), np.where(tried, billed, 0.0))


def _first_look(policy: CascadePolicy, table: Table) -> FloatArray:
    """At which token the rule is first asked; NaN is the end. Answers are kept for their gain at the first token."""
    looks = policy.checkpoints if policy.keep_small_below is None else (1,)
    first = looks[0] if looks else np.inf
    return np.where(table.num_tokens > first, first, np.nan)


def _looks(policy: RoutePolicy, table: Table, threshold: float) -> FloatArray:
    """At which token each draft is decided; NaN is the end."""
    stage = deciding_stage(probabilities_of(policy, table), policy.margins, threshold)
    found: FloatArray = np.append(np.array(table.checkpoints, dtype=np.float64), np.nan)[stage]
    return found
