"""Length-prefixed JSON over a pipe, and Python values in it: plain data by value, anything else by a handle."""

from __future__ import annotations

import datetime
import json
import os
import struct
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_FRAME_BYTES = 8 << 20
_LENGTH = struct.Struct(">I")

_TEXT_TYPES: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "complex": (complex, repr, complex),
    "Decimal": (Decimal, str, Decimal),
    "Fraction": (Fraction, str, Fraction),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
}
_ROW_TYPES: dict[str, tuple[type, Callable[[Any], list[Any]], Callable[[list[Any]], Any]]] = {
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "deque": (deque, list, deque),
    "dict": (dict, lambda value: [list(pair) for pair in value.items()], dict),
    "range": (range, lambda value: [value.start, value.stop, value.step], lambda row: range(*row)),
    "timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda row: datetime.timedelta(*row),
    ),
}


class WireError(Exception):
    """A value or a message that cannot cross."""


def framed(message: Any) -> bytes:
    """One message as it is sent. Raises WireError when it is too large."""
    body = json.dumps(message).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise WireError("a value is too large")
    return _LENGTH.pack(len(body)) + body


def unframed(frame: bytes) -> Any:
    """The one message that `frame` is. Raises WireError for anything else."""
    if len(frame) < _LENGTH.size or len(frame) != _LENGTH.size + _LENGTH.unpack_from(frame)[0]:
        raise WireError("a message is damaged")
    return _parsed(frame[_LENGTH.size :])


def send(descriptor: int, message: Any) -> None:
    """Write one message. Raises WireError when it is too large, OSError when nobody reads."""
    view = memoryview(framed(message))
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> Any:
    """Read one message. Raises EOFError at the end, WireError for anything that is no message."""
    (length,) = _LENGTH.unpack(_exactly(descriptor, _LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise WireError("a value is too large")
    return _parsed(_exactly(descriptor, length))


def encode(value: Any, handle_of: Callable[[Any], int]) -> Any:
    """A value as JSON. Subclasses of plain types go as their base; others as `handle_of` them, which may refuse."""
    try:
        return _encode(value, handle_of)
    except RecursionError as error:
        raise WireError("a value is nested too deep") from error


def decode(raw: Any, value_of: Callable[[int], Any]) -> Any:
    """The value of what `encode` made; `value_of` a handle. Raises WireError for anything else."""
    try:
        return _decode(raw, value_of)
    except (RecursionError, ValueError, TypeError, ArithmeticError, KeyError) as error:
        raise WireError("a value is damaged") from error


def _encode(value: Any, handle_of: Callable[[Any], int]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    for plain in (bool, int, float, str):
        if issubclass(kind, plain):
            return plain.__str__(value) if plain is str else plain(value)
    if issubclass(kind, list):
        return [_encode(one, handle_of) for one in list.__iter__(value)]
    for name, (base, text, _) in _TEXT_TYPES.items():
        if issubclass(kind, base):
            return {name: text(value)}
    for name, (base, row, _) in _ROW_TYPES.items():
        if issubclass(kind, base):
            return {name: [_encode(one, handle_of) for one in row(value)]}
    return {"handle": handle_of(value)}


def _decode(raw: Any, value_of: Callable[[int], Any]) -> Any:
    if isinstance(raw, list):
        return [_decode(one, value_of) for one in raw]
    if not isinstance(raw, dict):
        return raw
    ((name, content),) = raw.items()
    if name == "handle":
        return value_of(int(content))
    if name in _TEXT_TYPES:
        return _TEXT_TYPES[name][2](content)
    return _ROW_TYPES[name][2]([_decode(one, value_of) for one in content])


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError("a message is damaged") from error


def _exactly(descriptor: int, num_bytes: int) -> bytes:
    parts = []
    while num_bytes:
        part = os.read(descriptor, min(num_bytes, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)
