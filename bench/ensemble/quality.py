"""Vote, best member and large model on requests that nobody has seen, with what each costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cascade.price import by_parameters
from bench.ensemble import answers, members, task, votes
from bench.ensemble.pattern import of_pattern
from bench.ensemble.votes import Outcome, Said
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles, resolve
from serve_app.core import SamplingParams

LARGE = "qwen2.5-coder-0.5b-instruct"
SAMPLED = SamplingParams(max_tokens=task.MAX_TOKENS, temperature=0.7)
"""For several answers of one member."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many requests; of `large` and `pattern`, the first of those."""

    validation: int
    test: int
    large_validation: int
    large_test: int
    pattern: int
    """Asked of the real pattern, to hold its vote against the count on filed answers."""
    lock_step: int
    samples: int
    """Answers of the best member to each test request; 0: not tried."""


QUICK = Effort(validation=300, test=600, large_validation=40, large_test=160, pattern=40, lock_step=160, samples=0)
FULL = Effort(validation=1000, test=3079, large_validation=300, large_test=1000, pattern=200, lock_step=1000, samples=5)


@dataclass(frozen=True, slots=True)
class Filed:
    """All answers."""

    validation: list[list[Said]]
    test: list[list[Said]]
    samples: list[list[Said]]
    pooled: list[Said]
    large_validation: list[Said]
    large_test: list[Said]
    lock_step: list[Said]
    pattern: list[Said]
    seconds: dict[str, float]


def measure(quick: bool, threads: int, data: Path) -> dict[str, Any]:
    """The part `quality` of the result. Raises OSError where the data set is missing."""
    effort = QUICK if quick else FULL
    texts = task.split(data)
    base, large = resolve(members.BASE), resolve(LARGE)
    specs = members.shipped(base)
    filed = asyncio.run(_answered(effort, texts, base, specs, large, threads))
    return report(filed, [spec.name for spec in specs]) | {
        "effort": asdict(effort),
        "base": base.alias,
        "large": large.alias,
        "member_versions": {spec.name: spec.version for spec in specs},
        "seconds_by_part": filed.seconds,
    }


async def _answered(
    effort: Effort,
    texts: task.Split,
    base: ModelFiles,
    specs: Sequence[AdapterSpec],
    large: ModelFiles,
    threads: int,
) -> Filed:
    prices = by_parameters("demo")
    small_price = answers.Price(prices.small_prompt, prices.small_completion)
    large_price = answers.Price(prices.large_prompt, prices.large_completion)
    validation, test = texts.validation[: effort.validation], texts.test[: effort.test]
    clock = _Clock()
    one = members.pooled(base)
    async with answers.engine_of(base, [*specs, *([one] if one else [])], threads) as engine:
        by_validation = await answers.of_members(engine, base, specs, validation, small_price)
        by_test = await answers.of_members(engine, base, specs, test, small_price)
        clock.lap("members")
        best = specs[votes.best_member(by_validation)]
        sampled = (
            await answers.of_samples(engine, base, best, test, small_price, SAMPLED, effort.samples)
            if effort.samples
            else []
        )
        pooled = await answers.of_members(engine, base, [one], test, small_price) if one else []
        clock.lap("samples_and_pooled")
        voted = await of_pattern("vote", engine, base, specs, test[: effort.pattern], small_price)
        clock.lap("pattern")
        averaged = await of_pattern("average", engine, base, specs, test[: effort.lock_step], small_price)
        clock.lap("lock_step")
    shown = task.shown_to_large(texts.train)
    asked = (*validation[: effort.large_validation], *test[: effort.large_test])
    of_large = await answers.of_large(large, shown, asked, large_price, threads)
    clock.lap("large")
    return Filed(
        validation=by_validation,
        test=by_test,
        samples=sampled,
        pooled=[said for (said,) in pooled],
        large_validation=of_large[: effort.large_validation],
        large_test=of_large[effort.large_validation :],
        lock_step=averaged,
        pattern=voted,
        seconds=clock.laps,
    )


def report(filed: Filed, names: Sequence[str]) -> dict[str, Any]:
    """All figures, from answers alone."""
    best = votes.best_member(filed.validation)
    voted, alone = votes.vote(filed.test), votes.of_member(filed.test, best)
    ways = {
        "best_member": alone,
        "vote": voted,
        "weighted_vote": votes.vote(filed.test, weighted=True),
        "best_of_n": votes.best_of(filed.test),
    }
    if filed.samples:
        ways["vote_of_samples_of_best_member"] = votes.vote(filed.samples)
    if filed.pooled:
        ways["pooled_member"] = votes.outcome(filed.pooled)
    of_large = votes.outcome(filed.large_test)
    return {
        "vote_accuracy": float(voted.right.mean()),
        "best_member_accuracy": float(alone.right.mean()),
        "large_accuracy": float(of_large.right.mean()),
        "vote_over_best_member": votes.gain(voted, alone),
        "best_member": names[best],
        "members": {
            name: {
                "validation_accuracy": float(votes.of_member(filed.validation, place).right.mean()),
                **votes.of_member(filed.test, place).record(),
            }
            for place, name in enumerate(names)
        },
        "any_member_right": votes.any_right(filed.test),
        "ways": {
            name: way.record() | {"over_best_member": votes.gain(way, alone), "requests": len(way.right)}
            for name, way in ways.items()
        },
        "by_number_of_members": votes.by_size(filed.test),
        "lock_step": _beside(votes.outcome(filed.lock_step), filed, best),
        "large_model": _beside(of_large, filed, best) | {"prompt_tokens": filed.large_test[0].prompt_tokens},
        "escalation": _escalation(filed),
        "pattern": _agreement(filed),
    }


def _beside(way: Outcome, filed: Filed, best: int) -> dict[str, Any]:
    """A way that was tried on the first test requests only, beside the others on the same ones."""
    same = filed.test[: len(way.right)]
    voted, alone = votes.vote(same), votes.of_member(same, best)
    return way.record() | {
        "requests": len(way.right),
        "best_member_on_same": alone.record(),
        "vote_on_same": voted.record(),
        "over_best_member": votes.gain(way, alone),
        "vote_over_it": votes.gain(voted, way),
    }


def _escalation(filed: Filed) -> dict[str, Any]:
    """The vote with the large model where members disagree, at every bound and at the one chosen on validation."""
    validation, test = filed.validation[: len(filed.large_validation)], filed.test[: len(filed.large_test)]
    chosen = votes.chosen_threshold(validation, filed.large_validation)
    found = {}
    for below in votes.thresholds(len(test[0])):
        way, share = votes.escalated(test, filed.large_test, below)
        found[f"{below:.1f}"] = way.record() | {"escalated": share}
    return {"requests": len(test), "escalate_below": chosen, "by_bound": found}


def _agreement(filed: Filed) -> dict[str, Any]:
    """The pattern's answers beside the count on filed ones."""
    counted = [votes.counted(said).winner.answer for said in filed.test[: len(filed.pattern)]]
    same = sum(one.answer == other for one, other in zip(filed.pattern, counted, strict=True))
    return {"requests": len(counted), "same_answer": same / len(counted)}


class _Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._began_s = time.monotonic()

    def lap(self, name: str) -> None:
        """A part ends here."""
        now_s = time.monotonic()
        self.laps[name], self._began_s = round(now_s - self._began_s, 1), now_s


def show(found: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"Intents of BANKING77, members on {found['base']}", title_justify="left")
    for title in ("way", "requests", "right", "over the best member, 95 %", "$ a million requests"):
        table.add_column(title)
    ways = found["ways"] | {"average in lock step": found["lock_step"], found["large"]: found["large_model"]}
    for name, way in ways.items():
        low, high = way["over_best_member"]["interval_95"]
        table.add_row(
            name.replace("_", " "),
            str(way["requests"]),
            f"{way['accuracy']:.1%}",
            f"{100 * low:+.1f} to {100 * high:+.1f} points",
            f"{way['usd_per_million_requests']:.2f}",
        )
    Console().print(table)
