"""Answers of /v1/chat/completions: chat.completion and chat.completion.chunk."""

from collections.abc import Sequence
from typing import Any

from serve_app.core import Answer, TokenStat
from serve_app.gateway.choices import Piece
from serve_app.gateway.parse import Ask
from serve_app.gateway.shapes import Choice, Envelope, finite, shown, usage


class ChatShape:
    """A `shapes.Shape`. The first chunk of each choice names the role."""

    def __init__(self, ask: Ask) -> None:
        self._logprobs = ask.logprobs
        self._envelope = Envelope(ask, "chatcmpl-", "chat.completion.chunk", "chat.completion")
        self._begun: set[int] = set()

    def text_chunk(self, piece: Piece) -> dict[str, Any] | None:
        """See `Shape`."""
        delta = piece.delta
        tokens = shown(delta.tokens) if self._logprobs else None
        if not delta.text and not tokens:
            return None
        return self._chunk(piece.choice_index, {"content": delta.text}, tokens, None)

    def end_chunk(self, piece: Piece) -> dict[str, Any]:
        """See `Shape`."""
        return self._chunk(piece.choice_index, {}, None, piece.delta.finish_reason)

    def usage_chunk(self, account: Answer) -> dict[str, Any]:
        """See `Shape`."""
        return {**self._envelope.chunk([]), "usage": usage(account)}

    def whole(self, choices: list[Choice], account: Answer) -> dict[str, Any]:
        """See `Shape`."""
        bodies = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": _logprobs(shown(choice.tokens)) if self._logprobs else None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return self._envelope.whole(bodies, account)

    def _chunk(
        self, index: int, delta: dict[str, Any], tokens: Sequence[TokenStat] | None, finish_reason: str | None
    ) -> dict[str, Any]:
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        logprobs = None if tokens is None else _logprobs(tokens)
        return self._envelope.chunk(
            [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]
        )


def _logprobs(tokens: Sequence[TokenStat]) -> dict[str, Any]:
    content = [
        {**_token(token.text, token.logprob), "top_logprobs": [_token(text, logprob) for text, logprob in token.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _token(text: str, logprob: float) -> dict[str, Any]:
    """`bytes` is null for a token that is only part of a character: its text does not tell which part."""
    known = None if "\N{REPLACEMENT CHARACTER}" in text else list(text.encode())
    return {"token": text, "logprob": finite(logprob), "bytes": known}
