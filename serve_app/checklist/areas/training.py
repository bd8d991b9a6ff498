"""How the adapters were trained, by what lies in their folders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve_app.adapters import verify
from serve_app.catalogue import resolve
from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import AdapterFacts, Facts
from serve_app.checklist.item import Finding, worst
from serve_app.checklist.reports import Metrics
from serve_app.core import AdapterError, CatalogueError

_NONE = "The settings name no adapters."
_TRAIN_HERE = "Train it with `headrace adapters train`, which writes metrics.json, or write down how it was made."


@CHECKS.add("training.weights", "Each adapter can be read, is finite, and fits the base")
async def weights(facts: Facts) -> Finding:
    """The checks that a replica makes before it serves an adapter."""
    return await asyncio.to_thread(lambda: _each(facts, lambda one: _fits(facts, one)))


def _fits(facts: Facts, one: AdapterFacts) -> Finding:
    fix = f"Train or copy {one.name} again, and look at it with `headrace adapters verify`."
    if one.spec is None:
        return Finding.fail(one.error, fix)
    override = facts.settings.adapters[one.name].base_override
    try:
        base = resolve(facts.settings.specialists.model)
        verified = verify(one.spec, base, override)
    except CatalogueError as error:
        model = facts.settings.specialists.model
        return Finding.warn(
            f"The base cannot be used on this machine, so {one.name} is only read: {error}",
            f"headrace models pull {model}",
        )
    except AdapterError as error:
        return Finding.fail(str(error), fix)
    return Finding.good(f"{one.name} {verified.version} fits.")


@CHECKS.add("training.served", "What is served is what was looked at")
async def served(facts: Facts) -> Finding:
    """Names and versions of a running server against those of the settings: others may have been added by calls."""
    if facts.server is None:
        return Finding.not_applicable("No server was asked; give --url.")
    seen = {one.name: one.spec.version for one in facts.adapters if one.spec is not None}
    live = {one["name"]: one["version"] for one in (await facts.server.get("/v1/status"))["adapters"]}
    strange = sorted(name for name in live if name not in seen)
    changed = sorted(name for name, version in live.items() if name in seen and version not in (None, seen[name]))
    findings = []
    if strange:
        findings.append(f"{', '.join(strange)} is served and not in the settings")
    if changed:
        findings.append(f"{', '.join(changed)} is served in another version than the settings name")
    if findings:
        return Finding.warn(
            f"{'; '.join(findings)}: the items about adapters say nothing of it.",
            "Name its folder under adapters in a copy of the settings, and check that with --config.",
        )
    return Finding.good(f"{len(live)} adapters are served, in the versions of the settings.")


@CHECKS.add("training.base_digest", "Each adapter names the digest of its base", in_demo="warn")
async def base_digest(facts: Facts) -> Finding:
    """In `headrace.json`. A name alone may mean another upload of the base."""

    def look(one: AdapterFacts) -> Finding:
        if one.spec is None or one.spec.base_digest is None:
            return Finding.fail(
                f"{one.name} names no digest of its base, so that nothing says it was trained on this one.",
                "Write `base_digest` into its headrace.json.",
            )
        return Finding.good(f"{one.name} was trained on {one.spec.base_digest[:12]}.")

    return _each(facts, look)


@CHECKS.add("training.reproducible", "Seed, options and data digest of each training are on record")
async def reproducible(facts: Facts) -> Finding:
    """In `metrics.json`."""

    def look(metrics: Metrics, name: str) -> Finding:
        options, digest = metrics.options, metrics.data.train_sha256
        told = {"the seed": options.seed, "the learning rate": options.learning_rate, "the digest of the data": digest}
        missing = [what for what, value in told.items() if value is None]
        if missing:
            return Finding.warn(f"{name} does not say {', '.join(missing)}.", _TRAIN_HERE)
        return Finding.good(f"{name}: seed {options.seed}, data {str(digest)[:12]}.")

    return _of_metrics(facts, look)


@CHECKS.add("training.loss", "The training loss fell")
async def loss(facts: Facts) -> Finding:
    """From the first steps to the last."""

    def look(metrics: Metrics, name: str) -> Finding:
        first, last = metrics.training.first_loss, metrics.training.last_loss
        if first is None or last is None:
            return Finding.warn(f"{name} has no record of its loss.", _TRAIN_HERE)
        said = f"{name}: {first:.3f} to {last:.3f} nats a token."
        if not last < first:
            return Finding.fail(said, "Lower the learning rate, look at the rows, and train again.")
        return Finding.good(said)

    return _of_metrics(facts, look)


@CHECKS.add("training.early_stopping", "Training was stopped by rows held back")
async def early_stopping(facts: Facts) -> Finding:
    """A validation loss beside the training loss."""

    def look(metrics: Metrics, name: str) -> Finding:
        validations = metrics.training.validations
        if not validations:
            return Finding.warn(
                f"{name} was trained with no validation, so that nothing shows when it began to learn by heart.",
                "Train with `--validation FILE` or `--validation-share`.",
            )
        return Finding.good(f"{name}: {len(validations)} validations, best at step {metrics.training.best_step}.")

    return _of_metrics(facts, look)


def _of_metrics(facts: Facts, look: Callable[[Metrics, str], Finding]) -> Finding:
    def one(adapter: AdapterFacts) -> Finding:
        if adapter.metrics is None:
            return Finding.warn(f"{adapter.name} has no metrics.json.", _TRAIN_HERE)
        return look(adapter.metrics, adapter.name)

    return _each(facts, one)


def _each(facts: Facts, look: Callable[[AdapterFacts], Finding]) -> Finding:
    findings = [look(one) for one in facts.adapters]
    return worst(findings, _NONE)
