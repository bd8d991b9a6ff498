"""Starts convert.py in a process of its own.

So the memory of a conversion is given back, the log lines of torch stay out of the terminal, and a crash cannot take
the caller along.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from serve_app.catalogue.entries import Entry
from serve_app.core import CatalogueError

VERSION = 1
"""Raised when the same artefact would be converted to other files; models converted before are then converted anew."""


class Convert(Protocol):
    """Makes the files that engine and encoder read."""

    def __call__(self, entry: Entry, source: Path, target: Path) -> None:
        """Convert the folder `source` into the empty folder `target`.

        Raises CatalogueError and may then leave `target` half written: the caller removes it.
        """
        ...


def convert_in_child(entry: Entry, source: Path, target: Path) -> None:
    """Run convert.py with no network; Ctrl-C ends it too."""
    command = [sys.executable, "-m", "serve_app.catalogue.convert", entry.format, str(source), str(target)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([*command, *entry.end_tokens], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CatalogueError(explain(entry, done.returncode, done.stderr))


def explain(entry: Entry, returncode: int, stderr: str) -> str:
    """The end of a child in one sentence."""
    if "No space left on device" in stderr:
        return f"The disk is full while converting {entry.alias}: free some space and pull it again."
    if returncode < 0:
        need_gb = 2 * entry.model_bytes / 1e9
        return f"Converting {entry.alias} was ended by signal {-returncode}: it needs about {need_gb:.1f} GB of memory."
    last_line = next(iter(stderr.strip().splitlines()[-1:]), "no message")
    return f"Converting {entry.alias} failed with: {last_line}"
