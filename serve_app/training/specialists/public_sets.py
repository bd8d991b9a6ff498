"""What the recipes share: reading the public sets, and keeping clear of the routing test files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_app.core import DataError
from serve_app.labelling.lines import Line, parse_object

ROUTING_TESTS = ("routing/test.jsonl", "routing/test_ood.jsonl")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a recipe makes: rows for the two files of `headrace adapters train`, and what the manifest says."""

    train: list[dict[str, Any]]
    evaluation: list[dict[str, Any]]
    system_prompt: str
    max_tokens: int
    description: str
    licence: list[str]
    """One line for each data set."""
    sources: list[str]
    """Files read, relative to the data folder."""
    notes: list[str] = field(default_factory=list)
    """What was left out, with counts."""


def read_records(data_dir: Path, name: str) -> list[dict[str, Any]]:
    """All objects of a JSONL file of the data folder. Raises DataError when it is not there or damaged."""
    path = data_dir / name
    if not path.is_file():
        raise DataError(f"{path} is missing; point --data-dir at the folder that holds {name}.")
    records = []
    # split, not splitlines: texts hold U+2028 and friends, which JSON leaves unescaped
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line:
            records.append(parse_object(Line(number, line), path))
    return records


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces.

    >>> normalised("What is (are)  Glioma ?")
    'what is are glioma'
    """
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


class RoutingTests:
    """The texts that no training row may repeat: those the router and the served product are tested on."""

    def __init__(self, texts: Iterable[str]) -> None:
        lines = [normalised(text) for text in texts]
        self._blob = "\n".join(lines)
        self._triples = {triple for line in lines for triple in _triples(line.split())}
        self.num_dropped = 0

    @classmethod
    def read(cls, data_dir: Path) -> RoutingTests:
        """From the two test files of the data folder."""
        return cls(record["text"] for name in ROUTING_TESTS for record in read_records(data_dir, name))

    def holds(self, text: str) -> bool:
        """Whether the normalised text stands within any routing test text."""
        wanted = normalised(text)
        inner = wanted.split()[1:-1]  # the first and last words may be parts of words there
        if len(inner) >= 3 and tuple(inner[:3]) not in self._triples:
            return False  # the quick answer for almost every text
        return wanted in self._blob

    def without(self, rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
        """The rows none of whose named fields stands within a test text; counts the others in `num_dropped`."""
        kept = [row for row in rows if not any(self.holds(row[name]) for name in names)]
        self.num_dropped += len(rows) - len(kept)
        return kept


def _triples(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(words, words[1:], words[2:], strict=False)
