"""Who answers, and what stands before the question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.rag.task import Question
from serve_app.core import Message, Passage
from serve_app.passages import with_passages

SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"
CLOSED, GROUNDED = "medical-closed", "medical-passages"
"""The adapters: trained on questions and answers, and on the same with passages before the question."""
COMMITTED = Path(__file__).parent / "adapters"
"""Where the ones lie that runs use unless they are told to train."""
Context = Literal["none", "found", "right"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    model: str
    adapter: str | None = None
    context: Context = "none"
    """Passages that the search found, the right one alone whether found or not, or none."""


BEST = "fine-tuned + RAG"
KINDS = (
    Kind("base", SMALL),
    Kind("fine-tuned", SMALL, CLOSED),
    Kind("RAG", SMALL, None, "found"),
    Kind(BEST, SMALL, GROUNDED, "found"),
    Kind("large", LARGE),
    Kind("large + RAG", LARGE, None, "found"),
)
"""The table."""
BESIDE = (
    Kind("fine-tuned without passages, + RAG", SMALL, CLOSED, "found"),
    Kind("fine-tuned with passages, asked without", SMALL, GROUNDED),
    Kind("RAG, right passage given", SMALL, None, "right"),
    Kind("fine-tuned + RAG, right passage given", SMALL, GROUNDED, "right"),
)
"""What explains it: training without passages before a search, the other way about, and a search that never errs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what may stand before it."""

    question: Question
    found: tuple[Passage, ...]
    """By the search, those that fit."""
    right: tuple[Passage, ...]
    """The passage that holds the answer; empty where no chunk does."""

    def messages(self, kind: Kind) -> tuple[Message, ...]:
        """The conversation that `kind` is asked."""
        passages = {"none": (), "found": self.found, "right": self.right}[kind.context]
        return with_passages(self.question.messages, passages)
