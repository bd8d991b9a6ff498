"""What one version would escalate, risk and cost: its answers to labelled queries, a threshold fitted on some of them.

As `headrace cascade fit` does it: acceptance model and threshold come from one half of the rows (`calibration`), the
figures from the other half, which neither has seen. The promise is that of the policy: at most `alpha` of the accepted
answers wrong with probability 1 - delta, on queries drawn like the labelled ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_app.confidence.policy import CascadePolicy
from serve_app.core import DataError, SamplingParams
from serve_app.distill.answers import Answerer, Ask, Generated
from serve_app.distill.rows import ExampleRow
from serve_app.labelling.scorers import scorer as scorer_named
from serve_app.training.cascade import (
    FitOptions,
    LabelledAttempt,
    Prices,
    Table,
    TokenCounts,
    evaluate,
    fit_table,
    replay_policy,
    tabulate,
)
from serve_app.training.cascade.simulate import always_large_nusd


@dataclass(frozen=True, slots=True)
class Answered:
    """A version's answers to rows, each with a score."""

    rows: tuple[ExampleRow, ...]
    answers: tuple[Generated, ...]
    scores: tuple[float, ...]
    """In [0, 1]; what a scorer cannot judge counts as wrong."""

    def and_also(self, others: Answered) -> Answered:
        """These rows, then the others."""
        return Answered(self.rows + others.rows, self.answers + others.answers, self.scores + others.scores)


async def answer_and_score(
    rows: Sequence[ExampleRow],
    answerer: Answerer,
    scorer: str,
    options: Mapping[str, Any],
    max_tokens: int,
    on_done: Callable[[int], object] = lambda num: None,
) -> Answered:
    """Greedy answers and their scores; a row's own scorer goes before `scorer`. Raises DataError naming the row."""
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0)
    found = await answerer.answer([Ask(row.id, row.messages, sampling) for row in rows], on_done)
    usual = scorer_named(scorer, **options)
    scores = []
    for row in rows:
        judge = usual if row.scorer is None else scorer_named(row.scorer)
        try:
            scores.append(await judge.score(row.item(found[row.id].text)) or 0.0)
        except DataError as error:
            raise DataError(f"Row {row.id}: {error}") from error
    return Answered(tuple(rows), tuple(found[row.id] for row in rows), tuple(scores))


def attempts(answered: Answered, version: str | None, route: str | None) -> list[LabelledAttempt]:
    """The rows of `cascade fit`; `version` None is the bare base."""
    return [
        LabelledAttempt(
            id=row.id,
            route=route,
            adapter_version=version,
            prompt_tokens=answer.prompt_tokens,
            tokens=answer.tokens,
            small_right=score,
            small_usage=TokenCounts(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens),
            large_usage=row.large_usage,
        )
        for row, answer, score in zip(answered.rows, answered.answers, answered.scores, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a version would do, at the stated risk."""

    policy: CascadePolicy
    num_rows: int
    """That the figures are of; the policy has not seen them."""
    escalation: float
    """Share of the queries that go to the large model."""
    risk: float | None
    """Share of wrong ones among the accepted; None where none is accepted."""
    saved: float | None
    """Of always-large's bill; None where nothing is priced."""
    right: float
    """Share of right answers of the version itself, accepted or not."""
    accepted: tuple[bool, ...]
    """Of each row of the figures, for paired comparisons."""
    cost_usd: float | None
    """Mean of a query."""
    costs_nusd: tuple[float, ...] = ()
    """Of each row of the figures; none where nothing is priced."""
    always_large_nusd: tuple[float, ...] = ()
    """What the large model alone costs for each."""

    def record(self) -> dict[str, Any]:
        """As JSON, without the policy."""
        names = ("num_rows", "escalation", "risk", "saved", "right", "cost_usd")
        return {name: getattr(self, name) for name in names}


def estimate(
    rows: Sequence[LabelledAttempt], test: Sequence[LabelledAttempt] | None, options: FitOptions, prices: Prices | None
) -> Estimate:
    """Fit on `rows` and look at `test`, or with None on one half of the rows and look at the other.

    Raises DataError where there are too few rows for the fit.
    """
    if test is None:
        rows, test = halves(rows)
    fitted = fit_table(tabulate(rows, options.stages), options).policy
    return look(fitted, tabulate(test, options.stages), options, prices)


def look(policy: CascadePolicy, table: Table, options: FitOptions, prices: Prices | None) -> Estimate:
    """The figures of a policy on rows that it has not seen."""
    totals = evaluate(policy, table, prices)["all"]
    seen = replay_policy(policy, table)
    return Estimate(
        policy=policy,
        num_rows=len(table),
        escalation=1.0 - totals["accepted_share"],
        risk=totals["risk"],
        saved=totals.get("saved_share"),
        right=float(np.mean(table.small_right >= options.right_from)),
        accepted=tuple(seen.accepted.tolist()),
        cost_usd=totals.get("cost_usd"),
        costs_nusd=() if prices is None else tuple(seen.cost_nusd(table, prices).tolist()),
        always_large_nusd=() if prices is None else tuple(always_large_nusd(table, prices).tolist()),
    )


def added(policy: CascadePolicy | None, new: CascadePolicy) -> CascadePolicy:
    """A policy in use with the routes and versions of a new one, which take the place of the same ones."""
    if policy is None:
        return new
    keys = {(found.route, found.adapter_version) for found in new.routes}
    kept = tuple(found for found in policy.routes if (found.route, found.adapter_version) not in keys)
    return CascadePolicy(**{**dict(policy), "routes": kept + new.routes})


def fit_options(alpha: float, delta: float, policy: CascadePolicy | None) -> FitOptions:
    """As the policy in use decides, so that a new version's routes can stand in it."""
    if policy is None:
        return FitOptions(alpha=alpha, delta=delta)
    return FitOptions(
        alpha=alpha,
        delta=delta,
        decide=policy.decide,
        checkpoints=policy.checkpoints or FitOptions().checkpoints,
        right_from=policy.provenance.right_from,
        skip_small_above=policy.skip_small_above,
        keep_small_below=policy.keep_small_below,
    )


def halves(rows: Sequence[LabelledAttempt]) -> tuple[list[LabelledAttempt], list[LabelledAttempt]]:
    """By hash of the id, so that two versions are fitted on the same queries. Raises DataError where one is empty."""
    ordered = sorted(rows, key=lambda row: hashlib.sha256(f"half/{row.id}".encode()).hexdigest())
    if len(ordered) < 2:
        raise DataError(f"{len(ordered)} labelled rows cannot be halved; label 200 or more of the route.")
    middle = len(ordered) // 2
    return ordered[:middle], ordered[middle:]
