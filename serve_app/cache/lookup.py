"""When two requests are the same request: the normalised form, hashed.

Normalised are Unicode (NFC) and the outer whitespace of system and user turns, which ask for nothing; of a turn of the
assistant and of a raw prompt every character counts, for the model goes on from it. Parameters that change nothing at
temperature 0 (`top_p`, `seed`, the order of stop strings) are left out.

What decides beside the request is part of the hash too: who asks, so that no key is ever given another's answer; which
models that key may use; and the fingerprint of all that answers.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.cache.likeness import signature
from serve_app.core import Message, Query


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the answer to a query would be found."""

    exact: str
    """Of the whole normalised request."""
    context: str | None
    """Of all but the question's words; None: not a single question, so only the same request is as good."""
    question: str
    """The only user turn, normalised; empty where `context` is None."""
    key_id: str | None
    num_choices: int
    takes_default: bool
    """The request leaves the temperature to the adapter and the node."""


def lookup_of(
    query: Query, num_choices: int, fingerprint: str, allowed: Sequence[str] | None, greedy_by_default: bool
) -> Lookup | None:
    """None where the answer is drawn at random: temperature above 0, seeded or not.

    A seed does not make an answer repeatable enough: batches of another size round differently.
    """
    sampling = query.sampling
    takes_default = sampling.temperature is None
    if sampling.temperature or (takes_default and not greedy_by_default):
        return None
    asked = [
        query.key_id,
        None if allowed is None else sorted(set(allowed)),
        fingerprint,
        query.model,
        query.tier,
        num_choices,
        sampling.max_tokens,
        sorted(set(sampling.stop)),
        sampling.top_logprobs,
        takes_default,
    ]
    turns = [[message.role, normalised(message)] for message in query.messages]
    exact = _digest(["exact", asked, turns, query.prompt])
    context, question = None, ""
    if query.prompt is None and [role for role, _ in turns if role != "system"] == ["user"]:
        place = next(index for index, (role, _) in enumerate(turns) if role == "user")
        question = turns[place][1]
        context = _digest(["context", asked, [*turns[:place], ["user", signature(question)], *turns[place + 1 :]]])
    return Lookup(exact, context, question, query.key_id, num_choices, takes_default)


def normalised(message: Message) -> str:
    """The text of a turn as it is compared."""
    text = unicodedata.normalize("NFC", message.content)
    return text if message.role == "assistant" else text.strip()


def _digest(parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=24).hexdigest()
