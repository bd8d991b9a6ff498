"""The text of training rows, whatever their shape, and what in it looks personal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError
from serve_app.labelling.lines import parse_object, read_lines

_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b", re.IGNORECASE)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_DIGITS = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_PHONE = re.compile(r"(?<![\w.])\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,4}\d{2,4}\b")
_SSN = re.compile(r"\b\d{3}-\d{2}-\d{4}\b")


@dataclass(frozen=True, slots=True)
class DataRow:
    """One row: what is asked, the whole of it, and its label if it has one."""

    asked: str
    whole: str
    label: str | None


def read_rows(path: Path) -> list[DataRow]:
    """The rows of a JSONL file of queries, answers or conversations. Raises DataError naming file and line."""
    rows = []
    for line in read_lines(path):
        row = parse_object(line, path)
        asked = _asked(row)
        if asked is None:
            raise DataError(f"{path}:{line.number}: the row has neither `text`, `prompt`, `question` nor `messages`.")
        label = row.get("label")
        rows.append(DataRow(asked, "\n".join(_strings(row)), label if isinstance(label, str) else None))
    return rows


def _asked(row: Mapping[str, Any]) -> str | None:
    for name in ("text", "prompt", "question"):
        if isinstance(row.get(name), str):
            return str(row[name])
    messages = row.get("messages")
    if isinstance(messages, list):
        turns = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
        return "\n".join(str(turn.get("content", "")) for turn in turns)
    return None


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner: Sequence[Any] = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else ()
    return [text for one in inner for text in _strings(one)]


def personal(text: str) -> Counter[str]:
    """How often each kind of personal datum seems to occur; a pattern, no proof.

    >>> dict(personal("Write to ada@example.org or pay with 4111 1111 1111 1111."))
    {'email addresses': 1, 'card numbers': 1}
    """
    found = {
        "email addresses": len(_EMAIL.findall(text)),
        "phone numbers": len(_PHONE.findall(text)),
        "card numbers": sum(_luhn(match) for match in _DIGITS.findall(text)),
        "IBANs": len(_IBAN.findall(text)),
        "social security numbers": len(_SSN.findall(text)),
    }
    return Counter({kind: count for kind, count in found.items() if count})


def _luhn(text: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0
