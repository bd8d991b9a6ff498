"""Runs one reader in a process of its own, so that a hostile file costs bounded time and memory, and hurts nobody.

The child gets the bytes on its standard input and answers with one JSON object on its standard output.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from typing import Any

from serve_app.core import RetrieverError
from serve_app.rag.readers.formats import FORMATS
from serve_app.rag.reading import Block, Reading, Unreadable, too_slow

MEMORY_BYTES = 3 << 30
"""Of address space, where the system can bound it (Linux)."""


def read_apart(name: str, data: bytes, max_chars: int, timeout_s: float) -> Reading:
    """What `FORMATS[name]` makes of `data`. Raises Unreadable, also for a reader that died or took too long."""
    command = [sys.executable, "-m", __name__, name, str(max_chars), str(math.ceil(timeout_s))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise Unreadable(too_slow(timeout_s)) from None
    except OSError as error:
        raise RetrieverError(f"No process can be started to read a document: {error}.") from error
    if done.returncode == -signal.SIGXCPU:
        raise Unreadable(too_slow(timeout_s))
    if done.returncode or not done.stdout:
        raise Unreadable("cannot be read within the bounds of memory: divide it or save it as plain text.")
    return _reading(json.loads(done.stdout))


def _reading(answer: dict[str, Any]) -> Reading:
    """What the child answered. Raises Unreadable where it could not read."""
    if "unreadable" in answer:
        raise Unreadable(answer["unreadable"])
    blocks = tuple(Block(*block) for block in answer["blocks"])
    return Reading(answer["text"], blocks, answer["title"], tuple(answer["remarks"]))


def _bound(seconds: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    """`python -m serve_app.rag.readers.child FORMAT MAX_CHARS SECONDS < document`."""
    name, max_chars, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _bound(seconds)
    try:
        reading = FORMATS[name](sys.stdin.buffer.read(), max_chars)
        answer = {
            "text": reading.text,
            "blocks": [dataclasses.astuple(block) for block in reading.blocks],
            "title": reading.title,
            "remarks": reading.remarks,
        }
    except Unreadable as error:
        answer = {"unreadable": str(error)}
    except (MemoryError, RecursionError):
        answer = {"unreadable": "cannot be read within the bounds of memory: divide it or save it as plain text."}
    except Exception as error:  # whatever a hostile file makes a parser stumble on
        answer = {"unreadable": f"cannot be read ({type(error).__name__}): open it and save it anew."}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
