"""Answers of /v1/completions: text_completion, whole and in chunks."""

from collections.abc import Sequence
from typing import Any

from serve_app.core import Answer, TokenStat
from serve_app.gateway.choices import Piece
from serve_app.gateway.parse import Ask
from serve_app.gateway.shapes import Choice, Envelope, finite, shown, usage


class TextShape:
    """A `shapes.Shape`. Counts the characters of each choice's tokens for `text_offset`."""

    def __init__(self, ask: Ask) -> None:
        self._num_top = ask.query.sampling.top_logprobs
        self._logprobs = ask.logprobs
        self._envelope = Envelope(ask, "cmpl-", "text_completion", "text_completion")
        self._offsets: dict[int, int] = {}

    def text_chunk(self, piece: Piece) -> dict[str, Any] | None:
        """See `Shape`."""
        delta = piece.delta
        if not delta.text and not (self._logprobs and shown(delta.tokens)):
            return None
        return self._envelope.chunk([self._choice(piece.choice_index, delta.text, shown(delta.tokens), None)])

    def end_chunk(self, piece: Piece) -> dict[str, Any]:
        """See `Shape`."""
        return self._envelope.chunk([self._choice(piece.choice_index, "", (), piece.delta.finish_reason)])

    def usage_chunk(self, account: Answer) -> dict[str, Any]:
        """See `Shape`."""
        return {**self._envelope.chunk([]), "usage": usage(account)}

    def whole(self, choices: list[Choice], account: Answer) -> dict[str, Any]:
        """See `Shape`."""
        bodies = [
            self._choice(index, choice.text, shown(choice.tokens), choice.finish_reason)
            for index, choice in enumerate(choices)
        ]
        return self._envelope.whole(bodies, account)

    def _choice(self, index: int, text: str, tokens: Sequence[TokenStat], reason: str | None) -> dict[str, Any]:
        logprobs = self._token_table(index, tokens) if self._logprobs and tokens else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _token_table(self, index: int, tokens: Sequence[TokenStat]) -> dict[str, Any]:
        """OpenAI's parallel lists. Offsets are characters from the start of the answer, not of the prompt."""
        offsets, offset = [], self._offsets.get(index, 0)
        for token in tokens:
            offsets.append(offset)
            offset += len(token.text)
        self._offsets[index] = offset
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": [_alternatives(token) for token in tokens] if self._num_top else None,
            "text_offset": offsets,
        }


def _alternatives(token: TokenStat) -> dict[str, float]:
    """Text -> log-probability, with the chosen token's as OpenAI has it; of equal texts the likeliest counts."""
    table: dict[str, float] = {}
    for text, logprob in (*token.top, (token.text, token.logprob)):
        table.setdefault(text, finite(logprob))
    return table
