"""The traffic: bank customers' requests to be sorted into eight topics, by a client that shows one example of each.

From BANKING77 (Casanueva et al. 2020, CC BY 4.0), its own split: captured traffic and the labelled rows that set
thresholds are training texts, the rows that judge are test texts. The prompt was chosen on 100 training texts, so that
the large model does well (82 % there); topics and examples are written here. No label is shown to the run: it learns
from the large model's answers alone, and the labels only set thresholds and judge.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from serve_app.core import Message
from serve_app.distill.rows import ExampleRow

ROUTE = "support"
TOPICS = {
    "age_limit": ("age limit", "How old must I be to open an account?"),
    "card_arrival": ("card delivery", "When will my new card arrive?"),
    "change_pin": ("change pin", "How do I change my PIN?"),
    "terminate_account": ("close account", "I want to delete my account."),
    "exchange_rate": ("exchange rate", "What exchange rate do you use?"),
    "lost_or_stolen_card": ("lost card", "My card was stolen, what should I do?"),
    "request_refund": ("refund", "I want my money back for something I bought."),
    "top_up_failed": ("top-up failed", "My top-up did not go through."),
}
MAX_TOKENS = 8
_SEED = 5


@dataclass(frozen=True, slots=True)
class Traffic:
    """Disjoint rows of one route, each with its label as the reference."""

    captured: list[ExampleRow]
    labelled: list[ExampleRow]
    test: list[ExampleRow]


def traffic(data: Path, num_captured: int, num_labelled: int, num_test: int) -> Traffic:
    """The same rows each time. Raises OSError where the data set is missing."""
    train, test = (_rows(data, part) for part in ("train", "test"))
    chosen = random.Random(_SEED).sample(train, num_captured + num_labelled)
    judged = random.Random(_SEED).sample(test, min(num_test, len(test)))
    return Traffic(chosen[:num_captured], chosen[num_captured:], judged)


def _rows(data: Path, part: str) -> list[ExampleRow]:
    lines = (data / "banking77" / f"{part}.jsonl").read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    return [
        ExampleRow(
            id=f"{part}/{index}",
            messages=(*_conversation(), Message("user", record["text"])),
            scorer="exact",
            reference=TOPICS[record["label"]][0],
            route=ROUTE,
        )
        for index, record in enumerate(records)
        if record["label"] in TOPICS
    ]


def _conversation() -> tuple[Message, ...]:
    """The client's system turn and its examples."""
    topics = ", ".join(name for name, _ in TOPICS.values())
    asked = f"You sort customer requests. Reply with only the topic of the request, one of: {topics}."
    examples = [turn for name, text in TOPICS.values() for turn in (Message("user", text), Message("assistant", name))]
    return (Message("system", asked), *examples)
