"""Training and evaluation rows: JSONL in, checked `Row`s out. No torch.

A line is `{"prompt": …, "completion": …}` or `{"messages": […]}` whose last turn is the assistant's. An evaluation
line may also name `group` (reported apart), `metrics` (how to score it) and `choices` (the answers to pick from). For
`--with-passages` a line may have `passages`, or name the `document` that holds its answer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError, Message
from serve_app.training.scores import METRICS

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class GivenPassage:
    """A passage that stands in a row."""

    title: str
    text: str
    right: bool | None = None
    """Whether it holds the row's answer; None: not said."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with its wanted answer."""

    messages: tuple[Message, ...]
    completion: str
    group: str = "all"
    metrics: tuple[str, ...] = ()
    """Empty: the metric that the run was started with."""
    choices: tuple[str, ...] = ()
    """For the metric `choice`: the answers compared by their first token."""
    source: str = ""
    """`file:line`, for messages."""
    passages: tuple[GivenPassage, ...] = ()
    """Best first; used where a run is told to take the rows' own."""
    document: str | None = None
    """Id of the document that holds the answer, where passages come from a store."""


def read_rows(path: Path) -> list[Row]:
    """All rows of a JSONL file, in order. Raises DataError naming file and line on the first bad one."""
    try:  # split, not splitlines: U+2028 and friends may stand unescaped inside a JSON string
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}); give a JSONL file.") from error
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f'{path} holds no rows; give at least one line such as {{"prompt": "…", "completion": "…"}}.')
    return rows


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _row(line: str, source: str) -> Row:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise DataError(f"{source}: not valid JSON ({detail}); write one JSON object a line.") from error
    if not isinstance(record, dict):
        raise DataError(f"{source}: the line is no JSON object; write one object with prompt and completion a line.")
    messages, completion = _conversation(record, source)
    metrics = _strings(record, "metrics", source)
    for metric in metrics:
        if metric not in METRICS:
            raise DataError(f"{source}: unknown metric {metric!r}; use one of {', '.join(METRICS)}.")
    choices = _strings(record, "choices", source)
    if choices and completion not in choices:
        raise DataError(f"{source}: completion is none of the choices; make it equal to one of them.")
    if "choice" in metrics and not choices:
        raise DataError(f"{source}: the metric choice needs a list of choices; add the field.")
    group = record.get("group", "all")
    if not isinstance(group, str) or not group:
        raise DataError(f"{source}: group must be a non-empty string.")
    document = record.get("document")
    if document is not None and (not isinstance(document, str) or not document):
        raise DataError(f"{source}: document must be a non-empty string, the id of a document of the store.")
    return Row(messages, completion, group, metrics, choices, source, _passages(record, source), document)


def _conversation(record: dict[str, Any], source: str) -> tuple[tuple[Message, ...], str]:
    """The prompt's turns and the completion, from either of the two shapes."""
    if "messages" in record:
        turns = record["messages"]
        if not isinstance(turns, list) or len(turns) < 2:
            raise DataError(f"{source}: messages must list at least a user turn and the assistant's answer.")
        messages = tuple(_message(turn, source) for turn in turns)
        if messages[-1].role != "assistant":
            raise DataError(f"{source}: the last of messages must have the role assistant: it is what is learnt.")
        return messages[:-1], messages[-1].content
    for name in ("prompt", "completion"):
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise DataError(f"{source}: {name} must be a non-empty string (or give messages instead).")
    return (Message("user", record["prompt"]),), record["completion"]


def _message(turn: object, source: str) -> Message:
    if not isinstance(turn, dict) or turn.get("role") not in _ROLES:
        raise DataError(f"{source}: each of messages needs a role, one of {', '.join(_ROLES)}.")
    content = turn.get("content")
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{source}: each of messages needs content, a non-empty string.")
    return Message(turn["role"], content)


def _passages(record: dict[str, Any], source: str) -> tuple[GivenPassage, ...]:
    listed = record.get("passages", [])
    if not isinstance(listed, list):
        raise DataError(f"{source}: passages must be a list of objects with title and text.")
    return tuple(_passage(one, source) for one in listed)


def _passage(given: object, source: str) -> GivenPassage:
    if not isinstance(given, dict) or not isinstance(given.get("text"), str) or not given["text"].strip():
        raise DataError(f"{source}: each of passages needs text, a non-empty string.")
    title, right = given.get("title", ""), given.get("right")
    if not isinstance(title, str) or not (right is None or isinstance(right, bool)):
        raise DataError(f"{source}: in passages title must be a string, and right true or false.")
    return GivenPassage(title, given["text"], right)


def _strings(record: dict[str, Any], name: str, source: str) -> tuple[str, ...]:
    value = record.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise DataError(f"{source}: {name} must be a list of non-empty strings.")
    return tuple(value)
