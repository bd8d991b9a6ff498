"""The medical specialist: short answers to plain health questions, from MedQuAD.

MedQuAD's long pages are cut to their first sentences, so that a small model learns to say the main thing and stop.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from serve_app.training.specialists.public_sets import Prepared, RoutingTests, read_records

SYSTEM_PROMPT = "Answer the medical question in one or two sentences."
_MIN_CHARACTERS, _MAX_CHARACTERS = 40, 260
"""Of a MedQuAD answer after cutting."""


def prepare(data_dir: Path) -> Prepared:
    """MedQuAD's own split, in which no disease is on both sides."""
    tests = RoutingTests.read(data_dir)
    train = tests.without(_medquad(data_dir, "train"), "prompt")
    held_out = _medquad(data_dir, "test")
    return Prepared(
        train=train,
        evaluation=[row | {"group": "medquad", "metrics": ["rouge_l", "loss"]} for row in held_out],
        system_prompt=SYSTEM_PROMPT,
        max_tokens=96,
        description="Short plain answers to health questions; a demonstration, not medical advice.",
        licence=["MedQuAD (Ben Abacha and Demner-Fushman 2019, from NIH and NLM web sites): CC BY 4.0."],
        sources=["medquad/train.jsonl", "medquad/test.jsonl"],
        notes=[
            f"{tests.num_dropped} training rows left out because their question stands in a routing test file.",
            "Answers that only point to a table of the Human Phenotype Ontology left out; "
            f"the others cut to whole sentences of at most {_MAX_CHARACTERS} characters.",
        ],
    )


def first_sentences(answer: str, max_characters: int = _MAX_CHARACTERS) -> str:
    """The leading whole sentences that fit, without a repeated question; "" when not even one does.

    >>> first_sentences("What is X? X is a disease. It is rare. " + "It has been seen in many families. " * 9, 30)
    'X is a disease. It is rare.'
    """
    text = " ".join(answer.split())
    text = re.sub(r"^(What|How|Is|Are|Who|Can|Does|Do)\b[^.?]{0,150}\?\s*", "", text)
    kept = ""
    for sentence in re.split(r"(?<=[.!])\s+(?=[A-Z])", text):
        if len(kept) + len(sentence) + 1 > max_characters:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


def plain_question(question: str) -> str:
    """A MedQuAD question as a person would type it.

    >>> plain_question("What is (are) Glioma ?")
    'What is Glioma?'
    """
    text = re.sub(r"\s*\?[\s?]*$", "?", question.strip())
    return text.replace("What is (are) ", "What is ").replace("Is (are) ", "Is ")


def _medquad(data_dir: Path, split: str) -> list[dict[str, Any]]:
    rows = []
    for record in read_records(data_dir, f"medquad/{split}.jsonl"):
        answer = first_sentences(record["answer"])
        if len(answer) < _MIN_CHARACTERS or "Human Phenotype Ontology" in answer or answer.endswith(":"):
            continue
        rows.append({"prompt": plain_question(record["question"]), "completion": answer})
    return rows
