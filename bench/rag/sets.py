"""Questions with the documents that answer them, of public sets: medquad, pubmedqa and tatqa."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPLITS = {"medquad": ("train", "val", "test"), "pubmedqa": ("train", "test"), "tatqa": ("dev", "test")}
VALIDATION = {"medquad": "val", "pubmedqa": "train", "tatqa": "dev"}
"""The split that choices are made on."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the names of the documents that answer it."""

    text: str
    split: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Documents by name, and questions to them. Documents have no title: one would name what the question asks for."""

    name: str
    documents: dict[str, str]
    questions: tuple[Question, ...]


def load(data: Path, name: str, splits: tuple[str, ...] | None = None) -> RetrievalSet:
    """The set from its files, of those splits or all. Questions of the same words are one, with all their documents."""
    names: dict[str, str] = {}
    asked: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for split in splits or SPLITS[name]:
        for question, document in _rows(data / name / f"{split}.jsonl", name):
            document_id = names.setdefault(document, f"{name}-{len(names)}")
            words = re.sub(r"\W+", " ", question.lower()).strip()
            asked.setdefault((split, words), (question, set()))[1].add(document_id)
    questions = tuple(Question(text, split, frozenset(found)) for (split, _), (text, found) in asked.items())
    return RetrievalSet(name, {document_id: text for text, document_id in names.items()}, questions)


def _rows(path: Path, name: str) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if name == "medquad":
                yield row["question"], row["answer"]
            elif name == "pubmedqa":
                yield row["question"], row["context"]
            else:
                yield row["question"], f"{row['table']}\n\n{row['paragraphs']}"
