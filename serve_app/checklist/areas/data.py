"""What the models were made from. The files are those of `checklist.data`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from serve_app.checklist.areas.texts import DataRow, personal, read_rows
from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding, worst
from serve_app.config.checklist import DataFiles
from serve_app.core import DataError
from serve_app.distill import near

_FEWEST_ROWS = 100
_NEAR = 0.8
"""Jaccard similarity of character shingles from which two texts count as the same."""
_MOST_REPEATED = 0.05
_LARGEST_LABEL, _FEWEST_OF_A_LABEL = 0.8, 10
_NO_FILES = "No data files are named in checklist.data."
_NO_ADAPTERS = "The settings name no adapters."
_NAME_THEM = "Name the training and test files of each adapter under checklist.data in the settings."


@CHECKS.add("data.named", "The files that each adapter was made from are known", in_demo="warn")
async def named(facts: Facts) -> Finding:
    """An entry in `checklist.data`, or the digest that `headrace adapters train` wrote into `metrics.json`."""
    if not facts.adapters:
        return Finding.not_applicable(_NO_ADAPTERS)
    missing = [
        one.name
        for one in facts.adapters
        if one.name not in facts.settings.checklist.data and not (one.metrics and one.metrics.data.train_sha256)
    ]
    if missing:
        return Finding.fail(f"Nothing says what {', '.join(missing)} was trained on.", _NAME_THEM)
    return Finding.good("Each adapter names its training data, by file or by digest.")


@CHECKS.add("data.size", "There is enough training data", in_demo="warn")
async def size(facts: Facts) -> Finding:
    """Rows of the files, or as the adapter's metrics count them."""
    findings = []
    for name, files in facts.settings.checklist.data.items():
        rows = await _rows(facts, files.train)
        findings.append(_enough(name, len(rows)))
    for one in facts.adapters:
        if one.name not in facts.settings.checklist.data and one.metrics and one.metrics.data.train_rows is not None:
            findings.append(_enough(one.name, one.metrics.data.train_rows))
    return worst(findings, _NO_FILES)


def _enough(name: str, num_rows: int) -> Finding:
    if num_rows < _FEWEST_ROWS:
        return Finding.fail(f"{name} has {num_rows} training rows.", f"Collect at least {_FEWEST_ROWS} for each.")
    return Finding.good(f"{name} has {num_rows:,} training rows.")


@CHECKS.add("data.duplicates", "Training rows do not repeat each other")
async def duplicates(facts: Facts) -> Finding:
    """Near-duplicates by what is asked."""

    def look(name: str, train: list[DataRow], test: list[DataRow]) -> Finding:
        repeated = len(near.repeats([row.asked for row in train], _NEAR)) / len(train)
        said = f"{repeated:.1%} of the {len(train):,} training rows of {name} repeat an earlier one."
        if repeated > _MOST_REPEATED:
            return Finding.warn(said, "Leave the repeats out, and train again.")
        return Finding.good(said)

    return await _each(facts, look)


@CHECKS.add("data.leakage", "No test row stands in the training data")
async def leakage(facts: Facts) -> Finding:
    """Near-duplicates between the files, by what is asked."""

    def look(name: str, train: list[DataRow], test: list[DataRow]) -> Finding:
        if not test:
            return Finding.warn(f"{name} has no test file.", f"Name one as checklist.data.{name}.test.")
        leaked = len(near.near_to([row.asked for row in test], [row.asked for row in train], _NEAR))
        said = f"{leaked} of the {len(test):,} test rows of {name} have a near-duplicate among its training rows."
        if leaked:
            return Finding.fail(said, "Take them out of the training file, train again and evaluate again.")
        return Finding.good(said)

    return await _each(facts, look)


@CHECKS.add("data.balance", "No label has nearly all rows, and none has next to none")
async def balance(facts: Facts) -> Finding:
    """Of files whose rows have labels, and of the router's card."""
    counted = {}
    for name, files in facts.settings.checklist.data.items():
        labels = Counter(row.label for row in await _rows(facts, files.train) if row.label is not None)
        if labels:
            counted[name] = labels
    if "router" not in counted:
        with suppress(DataError):  # `routing.accuracy` says that the router cannot be read
            counted["router"] = Counter(facts.router_record.card.get("rows_per_label", {}))
    findings = [_balanced(name, labels) for name, labels in counted.items() if labels]
    return worst(findings, "No data with labels is named.")


def _balanced(name: str, labels: Counter[str]) -> Finding:
    (most, largest), (least, smallest) = labels.most_common()[0], labels.most_common()[-1]
    share = largest / labels.total()
    said = f"{name}: {len(labels)} labels, from {smallest} rows ({least}) to {largest} ({most}, {share:.0%})."
    if len(labels) > 1 and (share > _LARGEST_LABEL or smallest < _FEWEST_OF_A_LABEL):
        return Finding.warn(said, "Collect more rows of the rare labels.")
    return Finding.good(said)


@CHECKS.add("data.licence", "The data may be used for this", in_demo="warn")
async def licence(facts: Facts) -> Finding:
    """A licence in `checklist.data`, or in the adapter's `headrace.json`."""
    stated = facts.settings.checklist.data
    missing = [name for name, files in stated.items() if not files.licence and not _in_manifest(facts, name)]
    missing += [one.name for one in facts.adapters if one.name not in stated and not _in_manifest(facts, one.name)]
    if missing:
        return Finding.fail(
            f"No licence is noted for the data of {', '.join(missing)}.",
            "Write it as checklist.data.NAME.licence, or into `licence` of the adapter's headrace.json.",
        )
    return Finding.good("A licence is noted for the data of each adapter.")


@CHECKS.add("data.personal", "Training rows hold no personal data")
async def personal_data(facts: Facts) -> Finding:
    """Patterns of email addresses, phone, card and account numbers; names and addresses are not found this way."""

    def look(name: str, train: list[DataRow], test: list[DataRow]) -> Finding:
        found: Counter[str] = Counter()
        for row in train:
            found.update(personal(row.whole))
        if found:
            kinds = ", ".join(f"{count} {kind}" for kind, count in found.most_common())
            return Finding.warn(f"The training rows of {name} seem to hold {kinds}.", "Look at them, and redact them.")
        return Finding.good(f"{name}: none was found in {len(train):,} rows.")

    return await _each(facts, look)


async def _each(facts: Facts, look: Callable[[str, list[DataRow], list[DataRow]], Finding]) -> Finding:
    """Ask about each entry of `checklist.data`, in a thread: it may take seconds.

    In production it is a warning that nobody can look at what an adapter was made from.
    """
    findings = []
    sources = facts.settings.adapters  # nobody but us has the rows of those that come with the package
    unseen = [
        name
        for name, source in sources.items()
        if name not in facts.settings.checklist.data and not source.path.startswith("shipped:")
    ]
    if unseen and facts.profile == "production":
        findings.append(Finding.warn(f"The rows of {', '.join(unseen)} were not looked at.", _NAME_THEM))
    for name, files in facts.settings.checklist.data.items():
        train, test = await _both(facts, files)
        findings.append(await asyncio.to_thread(look, name, train, test))
    return worst(findings, _NO_FILES)


async def _both(facts: Facts, files: DataFiles) -> tuple[list[DataRow], list[DataRow]]:
    return await _rows(facts, files.train), await _rows(facts, files.test) if files.test else []


async def _rows(facts: Facts, file: str) -> list[DataRow]:
    return await asyncio.to_thread(read_rows, facts.path(file))


def _in_manifest(facts: Facts, name: str) -> bool:
    return any(one.name == name and one.spec is not None and bool(one.spec.manifest.licence) for one in facts.adapters)
