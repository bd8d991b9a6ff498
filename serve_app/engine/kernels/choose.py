"""Which kernels an engine uses."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from serve_app.core import ConfigError
from serve_app.engine.kernels.build import CannotBuild, build
from serve_app.engine.kernels.native import HEAD_DIMS, LANES, NativeKernels
from serve_app.engine.kernels.plain import PlainKernels
from serve_app.engine.kernels.protocol import Kernels

_log = logging.getLogger(__name__)


def choose_kernels(
    name: str, dtype: torch.dtype, device: torch.device, widths: set[int], head_dim: int, folder: Path
) -> Kernels:
    """Kernels by name; `auto` is native wherever it can be had. `widths` are the lengths of the model's vectors.

    The library is built in `folder`. Raises ConfigError when `native` is asked for and cannot be had.
    """
    reason = _obstacle(name, dtype, device, widths, head_dim)
    if reason is None:
        try:
            return NativeKernels(build(folder), dtype)
        except (CannotBuild, OSError) as error:
            reason = str(error)
            if name == "auto":
                _log.warning("the engine runs without its own CPU kernels, at about half the speed: %s", reason)
    if name == "native":
        raise ConfigError(f"kernels = native cannot be had here: {reason}; set kernels to `auto` or `plain`")
    return PlainKernels()


def _obstacle(name: str, dtype: torch.dtype, device: torch.device, widths: set[int], head_dim: int) -> str | None:
    if name == "plain":
        return "not asked for"
    if device.type != "cpu":
        return f"they are for CPUs and the device is {device}"
    if dtype not in (torch.bfloat16, torch.float32):
        return f"they know bfloat16 and float32, not {dtype}"
    odd = sorted(width for width in widths if width % LANES)
    if odd:
        return f"the model has vectors of {odd[0]} numbers, no multiple of {LANES}"
    known = ", ".join(map(str, HEAD_DIMS))
    return None if head_dim in HEAD_DIMS else f"its heads have {head_dim} numbers, and the kernels know {known}"
