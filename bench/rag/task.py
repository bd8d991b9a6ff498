"""The task: questions to a medical knowledge base, answered in at most about sixty words.

From MedQuAD (Ben Abacha and Demner-Fushman 2019, CC BY 4.0), its own split by topic: adapters learn from the training
topics, choices were made on validation topics, the rows that judge are test topics. The store holds the pages of all
three, so that a search has some thousand pages to tell apart; no adapter sees an answer of a validation or test topic.

A page is what one source says of one topic, a section for each kind of question; the questions themselves do not stand
in it. The reference is the beginning of the section that answers, in whole sentences.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from serve_app.core import Message
from serve_app.training.rows import Row

SYSTEM_PROMPT = (
    "Answer the medical question in at most 60 words. Where passages are given, use the words of the one that answers."
)
"""The same for every model, with or without passages and adapter."""
MAX_TOKENS = 96
REFERENCE_WORDS = 60
FILES = {"train": "medquad/train.jsonl", "validation": "medquad/val.jsonl", "test": "medquad/test.jsonl"}
_SENTENCE = re.compile(r"(?<=[.!?:])\s+")
_SEED = 8


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its reference."""

    id: str
    text: str
    reference: str
    page: str
    """Id of the page that answers."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """As every model is asked, without passages."""
        return (Message("system", SYSTEM_PROMPT), Message("user", self.text))

    @property
    def row(self) -> Row:
        """As the trainer knows it."""
        return Row(self.messages, self.reference, metrics=("rouge_l",), source=self.id, document=self.page)


@dataclass(frozen=True, slots=True)
class Page:
    """A document of the knowledge base, in Markdown."""

    id: str
    title: str
    text: str


def questions(data: Path, split: str) -> list[Question]:
    """All questions of a split, shuffled by a fixed seed, so that the first so many are a sample."""
    found = []
    for number, row in enumerate(_read(data / FILES[split])):
        text = f"{' '.join(row['question'].split()).rstrip(' ?')}?"
        found.append(Question(f"{split}-{number}", text, beginning(row["answer"]), _page_id(row)))
    random.Random(_SEED).shuffle(found)
    return found


def pages(data: Path) -> list[Page]:
    """The knowledge base: the pages of all splits."""
    sections: dict[str, list[str]] = defaultdict(list)
    titles = {}
    for file in FILES.values():
        for row in _read(data / file):
            titles[_page_id(row)] = row["focus"]
            sections[_page_id(row)].append(f"## {row['qtype'].capitalize()}\n\n{row['answer'].strip()}")
    return [Page(id, titles[id], "\n\n".join([f"# {titles[id]}", *sections[id]]) + "\n") for id in sections]


def beginning(answer: str) -> str:
    """The first whole sentences of at most 60 words together; of a longer first sentence, its first 60.

    >>> beginning("It is rare.  " + "It is inherited from one parent. " * 20).count("inherited")
    9
    """
    kept: list[str] = []
    for sentence in _SENTENCE.split(" ".join(answer.split())):
        words = sentence.split()
        if kept and len(kept) + len(words) > REFERENCE_WORDS:
            break
        kept += words
    return " ".join(kept[:REFERENCE_WORDS])


def digests(data: Path) -> dict[str, str]:
    """sha256 of the files."""
    return {file: hashlib.sha256((data / file).read_bytes()).hexdigest() for file in FILES.values()}


def _read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _page_id(row: dict[str, str]) -> str:
    slug = re.sub(r"\W+", "-", row["focus"].casefold()).strip("-")
    return f"{row['source']}/{slug}"
