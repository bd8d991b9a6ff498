"""Which device, number type and kind of matrix product to use: asked of the machine, not assumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from serve_app.core import ConfigError
from serve_app.engine.linear import check_kind, make_linear, obstacle

_NAMED = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}
_AUTO_DTYPES = (torch.float32, torch.bfloat16)
_AUTO_KINDS = ("plain", "packed")
"""int8 and int4 change the answers, so they are never chosen unasked."""
_PROBE_ROWS = (1, 8, 32)
_PROBE_BYTES = 48 << 20
"""Of float32 weights read per pass: past the caches, as a decode step's weights are."""
_PROBE_WEIGHTS = 32
"""At most: a tiny model fits the caches anyway."""
_PROBE_PASSES = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """How an engine runs the base's products."""

    dtype: torch.dtype
    kind: str
    """One of linear.KINDS."""
    threads: int
    device: torch.device
    times_ms: Mapping[str, float] = field(default_factory=dict)
    """`dtype kind` -> time of the products tried, summed over 1, 8 and 32 rows; empty where there was no choice."""

    def __str__(self) -> str:
        """One line for the log: `bfloat16, packed, cpu, threads 1 (tried: bfloat16 packed 12.0 ms, ...)`."""
        line = f"{_word(self.dtype)}, {self.kind}, {self.device}, threads {self.threads}"
        tried = sorted((taken, name) for name, taken in self.times_ms.items())
        return f"{line} (tried: {', '.join(f'{name} {taken:.1f} ms' for taken, name in tried)})" if tried else line


def choose(device: str, dtype: str, kind: str, hidden: int, inner: int) -> Choice:
    """What these names mean on this machine, with the threads torch is set to use now.

    Where dtype or kind is `auto`, the fastest of float32 and bfloat16 and of plain and packed is taken, as pairs, by
    the time of decode-shaped products [rows, hidden] x [hidden, inner]. Raises ConfigError for a name that cannot be
    used here.
    """
    place = choose_device(device)
    pairs = _candidates(dtype, kind, place)
    times_ms = {pair: _decode_time_ms(*pair, hidden, inner) for pair in pairs} if len(pairs) > 1 else {}
    best = min(pairs, key=lambda pair: times_ms.get(pair, 0.0))
    words = {f"{_word(dtype)} {kind}": taken for (dtype, kind), taken in times_ms.items()}
    return Choice(*best, torch.get_num_threads(), place, words)


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


def _candidates(dtype: str, kind: str, device: torch.device) -> list[tuple[torch.dtype, str]]:
    """The pairs that can run here, at least one. A named kind leaves out of an `auto` dtype what it cannot run."""
    if dtype != "auto":
        dtypes: tuple[torch.dtype, ...] = (_NAMED[dtype],)
    elif device.type == "cpu":
        dtypes = _AUTO_DTYPES
    else:
        dtypes = (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32,)
    kinds = _AUTO_KINDS if kind == "auto" else (kind,)
    pairs = [(dtype, kind) for dtype in dtypes for kind in kinds if not obstacle(kind, dtype, device)]
    if not pairs:
        check_kind(kind, dtypes[-1], device)
    return pairs


def _decode_time_ms(dtype: torch.dtype, kind: str, hidden: int, inner: int) -> float:
    """Best time of several passes over weights that do not fit the caches, summed over the numbers of rows."""
    num_weights = min(_PROBE_WEIGHTS, max(1, _PROBE_BYTES // (4 * hidden * inner)))
    with torch.device("meta"):
        layer = nn.Linear(hidden, inner, bias=False, dtype=dtype)
    products = []
    for _ in range(num_weights):
        layer.weight = nn.Parameter(torch.full((inner, hidden), 0.5, dtype=dtype), requires_grad=False)
        products.append(make_linear(kind, [layer]))
    return sum(_pass_ms(products, torch.full((rows, hidden), 0.5, dtype=dtype)) for rows in _PROBE_ROWS)


def _pass_ms(products: list[nn.Module], x: torch.Tensor) -> float:
    times_s: list[float] = []
    with torch.inference_mode():
        for _ in range(_PROBE_PASSES):
            start_s = time.perf_counter()
            for multiply in products:
                multiply(x)
            times_s.append(time.perf_counter() - start_s)
    return 1e3 * min(times_s)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
