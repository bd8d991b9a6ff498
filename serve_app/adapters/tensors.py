"""The weights file, read as bytes: header, shapes and whether every number is finite. NumPy only.

A bfloat16, float16 or float32 is infinite or not a number exactly when all bits of its exponent are one, so the raw
words are enough and no library has to know the type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.core import AdapterError

FILE_NAME = "adapter_model.safetensors"
MAX_BYTES = 2 * 1024**3
_MAX_HEADER_BYTES = 16 * 1024**2
_MAX_RAW_WORDS = 4_000_000
"""Words checked at a time: bounds the memory of the check."""


@dataclass(frozen=True, slots=True)
class _Format:
    word: type[np.unsignedinteger[Any]]
    exponent: int
    """All exponent bits of one word."""


_FORMATS = {
    "F32": _Format(np.uint32, 0x7F80_0000),
    "F16": _Format(np.uint16, 0x7C00),
    "BF16": _Format(np.uint16, 0x7F80),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the start of the file."""
    num_bytes: int


def read_entries(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file by name. Raises AdapterError when the file is damaged or too large."""
    num_bytes = path.stat().st_size
    if num_bytes > MAX_BYTES:
        raise AdapterError(f"{path} is {num_bytes} bytes; an adapter may be at most {MAX_BYTES}: use a lower rank.")
    header, data_begin = _header(path, num_bytes)
    entries = {
        name: _entry(record, name, path, data_begin) for name, record in header.items() if name != "__metadata__"
    }
    if not entries:
        raise AdapterError(f"{path} holds no tensors; save the adapter again.")
    expected = data_begin
    for entry in sorted(entries.values(), key=lambda one: one.begin):
        if entry.begin != expected:
            raise AdapterError(f"{path} is damaged: its tensors overlap or leave gaps; save the adapter again.")
        expected += entry.num_bytes
    if expected != num_bytes:
        raise AdapterError(f"{path} is damaged: {num_bytes} bytes instead of {expected}; copy or save it again.")
    return entries


def refuse_non_finite(path: Path, entries: Mapping[str, TensorEntry]) -> None:
    """Raise AdapterError naming the first tensor with an infinity or not-a-number: one would spoil whole batches."""
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    for name, entry in entries.items():
        form = _FORMATS[entry.dtype]
        data = raw[entry.begin : entry.begin + entry.num_bytes]
        step = _MAX_RAW_WORDS * form.word().itemsize
        for start in range(0, entry.num_bytes, step):
            words = np.frombuffer(data[start : start + step].tobytes(), dtype=form.word)
            if bool(np.any((words & form.exponent) == form.exponent)):
                raise AdapterError(f"{path}: the tensor {name} holds NaN or infinity; retrain with a lower rate.")


def _header(path: Path, num_bytes: int) -> tuple[dict[str, Any], int]:
    """The header's object and the offset of the first data byte."""
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if num_bytes < 8 or length > min(num_bytes - 8, _MAX_HEADER_BYTES):
            raise AdapterError(f"{path} is no safetensors file or is cut short; copy or save it again.")
        try:
            header = json.loads(opened.read(length))
        except (ValueError, RecursionError) as error:
            raise AdapterError(f"{path} has a damaged safetensors header ({error}); save the adapter again.") from error
    if not isinstance(header, dict):
        raise AdapterError(f"{path} has a damaged safetensors header; save the adapter again.")
    return header, 8 + length


def _entry(record: Any, name: str, path: Path, data_begin: int) -> TensorEntry:
    try:
        dtype, shape = str(record["dtype"]), tuple(int(side) for side in record["shape"])
        begin, end = (int(offset) for offset in record["data_offsets"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AdapterError(f"{path} has a damaged header at the tensor {name}; save the adapter again.") from error
    if dtype not in _FORMATS:
        raise AdapterError(f"{path}: the tensor {name} is {dtype}; only {', '.join(_FORMATS)} can be served.")
    if end - begin != math.prod(shape) * _FORMATS[dtype].word().itemsize or begin < 0:
        raise AdapterError(f"{path} has a damaged header at the tensor {name}; save the adapter again.")
    return TensorEntry(dtype, shape, data_begin + begin, end - begin)
