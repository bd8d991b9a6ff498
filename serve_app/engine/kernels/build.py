"""Compiles kernels.cpp for this processor, once: the library is kept under a digest of all that went into it."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("kernels.cpp")
"""The headers beside it are parts of it."""
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_TIMEOUT_S = 120


class CannotBuild(Exception):
    """There is no compiler, or it refuses; the message says what it said."""


def build(folder: Path) -> Path:
    """The compiled library in `folder`, made if it is not there: only then a compiler is needed. Raises CannotBuild.

    Safe between processes: each compiles to a name of its own and renames it.
    """
    library = folder / f"kernels-{_digest()}.so"
    if not library.exists():
        command = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("clang++") or ""]
        if not command[0]:
            raise CannotBuild("no C++ compiler was found; install g++")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / library.name
            _run([*command, *_FLAGS, "-fopenmp", str(SOURCE), "-o", str(made), *_openmp()])
            made.replace(library)
    return library


def _openmp() -> list[str]:
    """Torch's own copy of the OpenMP runtime, so that there is one pool of threads and not two."""
    folder = Path(torch.__file__).parent / "lib"
    return [part for lib in sorted(folder.glob("libgomp*.so*")) for part in (str(lib), f"-Wl,-rpath,{folder}")]


def _digest() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    source = (path.read_text(encoding="utf-8") for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h"))))
    made_of = (*source, flags, platform.machine(), torch.__version__)
    return hashlib.sha256("\0".join((*made_of, *_FLAGS, torch.__file__)).encode()).hexdigest()[:16]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise CannotBuild(f"{command[0]} failed: {done.stderr.strip()[:500]}")
