"""vLLM's outputs as Deltas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from serve_app.core import Delta, EngineError, FinishReason, TokenStat, Usage
from serve_app.engines.estimates import bounded, entropy, margin
from serve_app.engines.text import TextStream, token_text


class AnswerReader:
    """Reads one answer, output by output. Texts and stop strings are decided here and not by vLLM, so that they are
    those of every engine. The end token is in `tokens` with empty text.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str], adapter_version: str | None, prompt_tokens: int, num_top: int
    ) -> None:
        """`num_top`: alternatives that the caller wants with every token."""
        self._tokenizer = tokenizer
        self._text = TextStream(tokenizer, stop)
        self._version = adapter_version
        self._prompt_tokens, self._completion_tokens, self._num_top = prompt_tokens, 0, num_top

    def read(self, output: Any, busy_s: float) -> Delta:
        """The delta of one RequestOutput that holds new tokens only. Once it has a finish reason there is no more, even
        where vLLM has: a stop string was met. Raises EngineError."""
        (completion,) = output.outputs
        ended = completion.finish_reason
        if ended not in (None, "stop", "length"):
            raise EngineError(f"vLLM broke the answer off ({ended}); try again")
        text, tokens, num_new = "", [], len(completion.token_ids)
        for index, (token_id, told) in enumerate(zip(completion.token_ids, completion.logprobs, strict=True)):
            is_end = ended == "stop" and index == num_new - 1  # vLLM stops at end tokens only
            text += "" if is_end else self._text.push(token_id)
            tokens.append(self._stat(token_id, told))
            if self._text.stopped:
                break
        if ended is not None:
            text += self._text.flush()
        self._completion_tokens += len(tokens)
        finish: FinishReason | None = "stop" if self._text.stopped else ended
        cached = min(output.num_cached_tokens or 0, self._prompt_tokens)
        usage = Usage(self._prompt_tokens, cached, self._completion_tokens, busy_s)
        return Delta(text, tuple(tokens), finish, usage, self._version)

    def _stat(self, token_id: int, told: Mapping[int, Any]) -> TokenStat:
        """`told`: token id -> log-probability with rank, of the likeliest tokens and of the one chosen."""
        best = sorted(((one, bounded(found.logprob)) for one, found in told.items()), key=lambda pair: -pair[1])
        logprob = bounded(told[token_id].logprob)
        values = [value for _, value in best]
        return TokenStat(
            token_id=token_id,
            text=token_text(self._tokenizer, token_id, skip_special=True),
            logprob=logprob,
            entropy=max(0.0, entropy(values)),
            margin=margin(values, logprob),
            top=tuple(
                (token_text(self._tokenizer, one, skip_special=False), value) for one, value in best[: self._num_top]
            ),
        )
