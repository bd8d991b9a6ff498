"""Carries the deltas of one call from the engine's thread to an event loop, merging those the reader is late for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from tokenizers import Tokenizer

from serve_app.core import Delta, FinishReason, HeadraceError, TokenStat, Usage
from serve_app.engine.request import SampledToken
from serve_app.engines.local.text import TextStream


class DeltaStream:
    """A Sink on the engine's side, `next` on the event loop's side.

    Stop strings are decided in the engine's thread, so that what an answer costs does not depend on its reader's pace.
    The end token is in `tokens` with empty text.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], adapter_version: str | None) -> None:
        self._tokenizer = tokenizer
        self._text = TextStream(tokenizer, stop)
        self._version = adapter_version
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._pending: list[Delta] = []
        self._error: HeadraceError | None = None

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        """See Sink. Called from the engine's thread."""
        text = "" if finish == "stop" else self._text.push(token.token_id)
        if finish is not None:
            text += self._text.flush()
        if self._text.stopped:
            finish = "stop"
        self._hand_over(Delta(text, (self._stat(token),), finish, usage, self._version), None)
        return self._text.stopped

    def fail(self, error: HeadraceError) -> None:
        """See Sink. Called from the engine's thread."""
        self._hand_over(None, error)

    async def next(self) -> Delta:
        """Wait for the next delta: all that is pending, as one. Raises the error once what came before it is read."""
        await self._ready.wait()
        with self._lock:
            pending, self._pending = self._pending, []
            if not pending and self._error is not None:
                raise self._error
            if self._error is None:
                self._ready.clear()
        return merge(pending)

    def _hand_over(self, delta: Delta | None, error: HeadraceError | None) -> None:
        with self._lock:
            awake = bool(self._pending) or self._error is not None
            if delta is not None:
                self._pending.append(delta)
            self._error = self._error or error
        if not awake:
            self._loop.call_soon_threadsafe(self._ready.set)

    def _stat(self, token: SampledToken) -> TokenStat:
        return TokenStat(
            token_id=token.token_id,
            text=self._decode(token.token_id, skip_special=True),
            logprob=token.logprob,
            entropy=token.entropy,
            margin=token.margin,
            top=tuple((self._decode(token_id, skip_special=False), logprob) for token_id, logprob in token.top),
        )

    def _decode(self, token_id: int, skip_special: bool) -> str:
        text: str = self._tokenizer.decode([token_id], skip_special_tokens=skip_special)
        return text


def merge(deltas: Sequence[Delta]) -> Delta:
    """One delta that says what several did, in order; the last one's totals hold."""
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        text="".join(delta.text for delta in deltas),
        tokens=tuple(token for delta in deltas for token in delta.tokens),
        finish_reason=deltas[-1].finish_reason,
        usage=deltas[-1].usage,
        adapter_version=deltas[-1].adapter_version,
    )
