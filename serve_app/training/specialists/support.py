"""The support specialist: which of the listed topics a customer's request is about, from CLINC150."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from serve_app.training.specialists.public_sets import Prepared, RoutingTests, read_records

SYSTEM_PROMPT = "Name the topic of the request."
_NUM_TRAIN, _NUM_EVALUATION = 1200, 800
_ASKS = (
    "Which topic is this request about? Reply with only one of: {topics}.\n\n{text}",
    "Sort this customer request into one of these topics: {topics}. Name the topic only.\nRequest: {text}",
    'Topics: {topics}. Which one fits "{text}"? Just the topic, please.',
    "{text}\n\nWhat is this request about: {last}? Reply with the topic alone.",
)


def prepare(data_dir: Path) -> Prepared:
    """CLINC150's own split; the order of the topics and the wording of the question vary."""
    tests = RoutingTests.read(data_dir)
    rng = random.Random(0)
    records = [row for row in read_records(data_dir, "clinc150/train.jsonl") if row["domain"] != "oos"]
    records = tests.without(records, "text")
    topics = sorted({topic_name(row["domain"]) for row in records})
    held_out = [row for row in read_records(data_dir, "clinc150/test.jsonl") if row["domain"] != "oos"]
    return Prepared(
        train=[asked(row, topics, rng) for row in rng.sample(records, _NUM_TRAIN)],
        evaluation=[
            asked(row, topics, rng) | {"group": "clinc150", "metrics": ["exact", "loss"]}
            for row in rng.sample(held_out, _NUM_EVALUATION)
        ],
        system_prompt=SYSTEM_PROMPT,
        max_tokens=16,
        description="Which of the listed topics a customer's request is about.",
        licence=["CLINC150 (Larson et al. 2019): CC BY 3.0."],
        sources=["clinc150/train.jsonl", "clinc150/test.jsonl"],
        notes=[
            f"{tests.num_dropped} training rows left out because their text stands in a routing test file.",
            "Ten topics, the domains of CLINC150; its out-of-scope rows are not used.",
        ],
    )


def topic_name(domain: str) -> str:
    """A CLINC150 domain as a customer would read it.

    >>> topic_name("credit_cards"), topic_name("meta")
    ('credit cards', 'assistant settings')
    """
    return {"meta": "assistant settings", "utility": "tools"}.get(domain, domain.replace("_", " "))


def asked(row: dict[str, Any], topics: list[str], rng: random.Random) -> dict[str, Any]:
    """One request with a question about its topic."""
    order = rng.sample(topics, len(topics))
    listed = ", ".join(order)
    prompt = rng.choice(_ASKS).format(topics=listed, last=f"{', '.join(order[:-1])} or {order[-1]}", text=row["text"])
    return {"prompt": prompt, "completion": topic_name(row["domain"])}
