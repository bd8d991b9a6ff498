"""What the two APIs' answers have in common; `chat` and `texts` fill in the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from serve_app.core import Answer, FinishReason, TokenStat
from serve_app.gateway.choices import Piece
from serve_app.gateway.parse import Ask
from serve_app.ledger import public_account

_LEAST_LOGPROB = -9999.0
"""OpenAI's stand-in for minus infinity, which JSON cannot hold."""


@dataclass(slots=True)
class Choice:
    """One choice of an answer that is sent whole."""

    text: str = ""
    tokens: list[TokenStat] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def add(self, piece: Piece) -> None:
        """Append a delta."""
        self.text += piece.delta.text
        self.tokens.extend(piece.delta.tokens)
        self.finish_reason = piece.delta.finish_reason


class Shape(Protocol):
    """Makes the JSON objects of one answer. Holds the state of one stream; use it for one query."""

    def text_chunk(self, piece: Piece) -> dict[str, Any] | None:
        """The chunk with the delta's text and tokens, or None where there is nothing to send."""
        ...

    def end_chunk(self, piece: Piece) -> dict[str, Any]:
        """The chunk that says why the piece's choice ended."""
        ...

    def usage_chunk(self, account: Answer) -> dict[str, Any]:
        """The chunk of `stream_options.include_usage`: no choices."""
        ...

    def whole(self, choices: list[Choice], account: Answer) -> dict[str, Any]:
        """The answer that is not streamed."""
        ...


class Envelope:
    """The fields around the choices."""

    def __init__(self, ask: Ask, id_prefix: str, chunk_object: str, whole_object: str) -> None:
        self._ask, self._chunk_object, self._whole_object = ask, chunk_object, whole_object
        self._common: dict[str, Any] = {
            "id": id_prefix + ask.query.query_id,
            "created": int(ask.query.created_at_s),
            "model": ask.query.model,
        }
        if ask.tells_tier:
            self._common["service_tier"] = ask.query.tier

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """One event. `usage` is null in all but the last where the client asked for it, as OpenAI has it."""
        usage = {"usage": None} if self._ask.include_usage else {}
        return {**self._common, "object": self._chunk_object, "choices": choices, **usage}

    def whole(self, choices: list[dict[str, Any]], account: Answer) -> dict[str, Any]:
        """The answer that is not streamed, with its account."""
        return with_account(
            {**self._common, "object": self._whole_object, "choices": choices, "usage": usage(account)}, account
        )


def with_account(body: dict[str, Any], account: Answer) -> dict[str, Any]:
    """`body` with the `headrace` object."""
    return {**body, "headrace": public_account(account)}


def shown(tokens: Sequence[TokenStat]) -> list[TokenStat]:
    """The tokens whose log-probabilities are reported: an end token has no text, and OpenAI leaves it out."""
    return [token for token in tokens if token.text]


def usage(account: Answer) -> dict[str, Any]:
    """The tokens of the answer that was given: the prompt once, all choices' new tokens.

    Drafts that the cascade threw away, and members of an ensemble whose answers were only counted, are not in it; they
    are billed in the `headrace` object.
    """
    accepted = [
        attempt.usage
        for attempt in account.attempts
        if attempt.role in ("answer", "member") and attempt.outcome == "accepted"
    ]
    prompt_tokens = accepted[0].prompt_tokens if accepted else 0
    completion_tokens = sum(one.completion_tokens for one in accepted)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": accepted[0].cached_tokens if accepted else 0},
    }


def finite(logprob: float) -> float:
    """A log-probability that JSON can hold; not a number counts as minus infinity."""
    return logprob if logprob >= _LEAST_LOGPROB else _LEAST_LOGPROB
