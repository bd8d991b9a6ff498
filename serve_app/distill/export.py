"""Captured queries out of the ledger's texts, or out of a log of recorded outcomes. What is left out is counted by why.

Consent is asked again here, by the settings and keys as they are now: texts that were kept under an agreement that has
ended are not exported, though retention has not deleted them yet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from serve_app.config.ledger import TextsSettings
from serve_app.config.named import named
from serve_app.core import ConfigError, DataError, Message
from serve_app.distill.near import repeats
from serve_app.distill.rows import ExampleRow, objects, parse_example
from serve_app.keys.store import KeyStore
from serve_app.ledger.texts import RoutedText, TextStore, Wanted
from serve_app.store import Store

Redact = Callable[[str], str]

_RENAMED = {"large_answer": "answer"}
_NOT_KEPT = frozenset(
    {"small_answer", "small_right", "large_right", "small_usage", "tokens", "prompt_tokens", "gain", "accepted"}
    | {"route_probability", "route_margin", "escalated", "small_ms", "large_ms"}
)
"""Of a log of recorded outcomes: what the small model did, which the gate finds out anew."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows, and how many others there were, by why they are not among them."""

    rows: list[ExampleRow]
    dropped: Counter[str]


async def from_ledger(store: Store, settings: TextsSettings, wanted: Wanted) -> Exported:
    """All texts that are wanted and may be used, in the order of their arrival. Raises LedgerError."""
    opted_in = {record.key.key_id for record in await KeyStore(store).all()
                if record.key.store_texts and record.revoked_at_s is None}  # fmt: skip
    texts, rows, dropped = TextStore(store), [], Counter[str]()
    page = await texts.page(wanted)
    while page:
        for found in page:
            row = _row(found, settings, opted_in)
            if isinstance(row, str):
                dropped[row] += 1
            else:
                rows.append(row)
        page = await texts.page(wanted, page[-1].text)
    return Exported(rows, dropped)


def from_log(path: Path, route: str | None = None) -> Exported:
    """Rows of a log as `headrace estimate --keep` and `headrace label` write it: those that the large model answered.

    Rows that say `"escalated": false`, or are of another route than the one asked for, are left out.
    Raises DataError naming file, line and field.
    """
    rows, dropped = [], Counter[str]()
    for line, fields in objects(path):
        if fields.get("escalated") is False:
            dropped["not escalated"] += 1
        elif fields.get("large_answer", fields.get("answer")) in (None, ""):
            dropped["no answer of the large model"] += 1
        elif route is not None and fields.get("route") != route:
            dropped["another route"] += 1
        else:
            kept = {_RENAMED.get(name, name): value for name, value in fields.items() if name not in _NOT_KEPT}
            rows.append(parse_example(kept, f"{path}:{line.number}"))
    return Exported(rows, dropped)


def cleaned(exported: Exported, redact: Redact, bound: float) -> Exported:
    """Redacted once more, then of near-duplicates the newest alone. Raises ConfigError where `redact` fails."""
    dropped = Counter(exported.dropped)
    rows = [_redacted(row, redact) for row in exported.rows]
    rows.sort(key=lambda row: (-row.created_at_s, row.id))
    gone = repeats([row.text for row in rows], bound)
    dropped["near-duplicate"] += len(gone)
    return Exported([row for index, row in enumerate(rows) if index not in gone], +dropped)


def redaction(name: str | None) -> Redact:
    """The function that a plan names; without one, texts stay as they are. Raises ConfigError."""
    if name is None:
        return str
    try:
        found: Redact = named(name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"source.redact is {name!r}, which cannot be imported ({error}).") from error
    if not callable(found):
        raise ConfigError(f"source.redact is {name!r}, which is not a function.")
    return found


def refuse_few(exported: Exported, fewest: int) -> None:
    """Raises DataError that says what became of the rows where fewer than `fewest` are left."""
    if len(exported.rows) >= fewest:
        return
    why = ", ".join(f"{count} {reason}" for reason, count in exported.dropped.most_common()) or "there are no others"
    raise DataError(
        f"{len(exported.rows)} escalated queries are left to learn from, and a run needs {fewest} "
        f"(left out: {why}). Texts are kept where ledger.texts.store is on and the key agrees."
    )


def _row(found: RoutedText, settings: TextsSettings, opted_in: Collection[str]) -> ExampleRow | str:
    """The row, or why there is none."""
    text = found.text
    if not settings.wants(text.key_id, text.key_id in opted_in):
        return "no consent"
    if not text.answer.strip():
        return "empty answer"
    turns = json.loads(text.prompt)
    if isinstance(turns, str):
        return "raw prompt"
    if not turns or turns[-1]["role"] != "user":
        return "last turn not the user's"
    return ExampleRow(
        id=text.query_id,
        messages=tuple(Message(turn["role"], turn["content"]) for turn in turns),
        answer=text.answer,
        route=found.route,
        adapter=text.adapter,
        adapter_version=text.adapter_version,
        key_id=text.key_id,
        created_at_s=text.created_at_s,
    )


def _redacted(row: ExampleRow, redact: Redact) -> ExampleRow:
    try:
        messages = tuple(Message(turn.role, redact(turn.content)) for turn in row.messages)
        answer = None if row.answer is None else redact(row.answer)
    except Exception as error:  # code of the user's: a text that it did not redact is not exported
        raise ConfigError(f"source.redact failed on query {row.id} ({type(error).__name__}: {error}).") from error
    return row.model_copy(update={"messages": messages, "answer": answer})
