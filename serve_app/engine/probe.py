"""Which device and number type to use: asked of the machine, not assumed."""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from serve_app.core import ConfigError

_NAMED = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}
_PROBE_ROWS = 8
_PROBE_BYTES = 48 << 20
"""Of float32 weights read per pass: past the caches, as a decode step's weights are."""
_PROBE_PASSES = 5


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is cuda where there is one. Raises ConfigError where it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used on this machine ({reason}); set `cpu` or `auto`") from error
    return device


def choose_dtype(name: str, device: torch.device, hidden: int, inner: int) -> torch.dtype:
    """The dtype of that name; `auto` times decode-shaped products [8, hidden] x [hidden, inner] in bf16 and fp32."""
    if name != "auto":
        return _NAMED[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    times = {dtype: _decode_time_s(dtype, hidden, inner) for dtype in (torch.float32, torch.bfloat16)}
    return min(times, key=lambda dtype: times[dtype])


def _decode_time_s(dtype: torch.dtype, hidden: int, inner: int) -> float:
    """Best time of several passes over weights that do not fit the caches."""
    num_weights = max(1, _PROBE_BYTES // (4 * hidden * inner))
    x = torch.full((_PROBE_ROWS, hidden), 0.5, dtype=dtype)
    weights = [torch.full((inner, hidden), 0.5, dtype=dtype) for _ in range(num_weights)]
    times_s: list[float] = []
    with torch.inference_mode():
        for _ in range(_PROBE_PASSES):
            start_s = time.perf_counter()
            for weight in weights:
                functional.linear(x, weight)
            times_s.append(time.perf_counter() - start_s)
    return min(times_s)
