"""What a server said when it did not answer: OpenAI's error object, as far as there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer. Its message is the server's own: it may repeat what it was sent."""

    status: int
    message: str = ""
    """At most 300 characters; empty where the server said nothing."""
    param: str | None = None
    code: str | None = None
    type: str | None = None
    told: Mapping[str, Any] | None = None
    """The whole error object, for what some servers add to it."""

    def __str__(self) -> str:
        """`status 500 (out of memory)`."""
        return f"status {self.status}{f' ({self.message})' if self.message else ''}"


def read_refusal(status: int, body: bytes | str) -> Refusal:
    """Read the body of an error answer, whatever it is.

    >>> str(read_refusal(500, b'{"error": {"message": "out of memory"}}')), str(read_refusal(502, b"<html>"))
    ('status 500 (out of memory)', 'status 502')
    """
    try:
        told = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Refusal(status)
    return refusal_of(status, told)


def refusal_of(status: int, told: Any) -> Refusal:
    """The same from the error object itself: an object, or only a sentence."""
    if isinstance(told, str):
        told = {"message": told}
    if not isinstance(told, dict):
        return Refusal(status)
    param, code, kind = (str(told[name]) if told.get(name) else None for name in ("param", "code", "type"))
    return Refusal(status, str(told.get("message") or "")[:_LONGEST_MESSAGE], param, code, kind, told)
