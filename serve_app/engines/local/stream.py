"""Carries the deltas of calls from the engine's thread to an event loop, merging those the reader is late for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence

from tokenizers import Tokenizer

from serve_app.core import Delta, FinishReason, HeadraceError, MemberDelta, TokenStat, Usage
from serve_app.engine.request import SampledToken
from serve_app.engines.text import TextStream, token_text


class DeltaStream:
    """A Sink on the engine's side, `next` on the event loop's side.

    Stop strings are decided in the engine's thread, so that what an answer costs does not depend on its reader's pace.
    The end token is in `tokens` with empty text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str],
        adapter_version: str | None,
        ready: asyncio.Event | None = None,
    ) -> None:
        """`ready` is set when there is something to take; streams that are read together share one."""
        self._tokenizer = tokenizer
        self._text = TextStream(tokenizer, stop)
        self._version = adapter_version
        self._loop = asyncio.get_running_loop()
        self._ready = ready or asyncio.Event()
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
        while (delta := self.take()) is None:
            await self._ready.wait()
            self._ready.clear()  # before it is looked at: what comes afterwards sets it again
        return delta

    def take(self) -> Delta | None:
        """What is pending, as one delta; None: nothing yet. Raises the error once what came before it is taken."""
        with self._lock:
            pending, self._pending = self._pending, []
            if not pending and self._error is not None:
                raise self._error
        return merge(pending) if pending else None

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
            text=token_text(self._tokenizer, token.token_id, skip_special=True),
            logprob=token.logprob,
            entropy=token.entropy,
            margin=token.margin,
            top=tuple((token_text(self._tokenizer, one, skip_special=False), logprob) for one, logprob in token.top),
        )


async def read_together(streams: Mapping[int, DeltaStream], ready: asyncio.Event) -> AsyncGenerator[MemberDelta]:
    """What comes of streams that share `ready`, each to its last delta or its error, as its member's."""
    unfinished = dict(streams)
    while unfinished:
        for member, stream in tuple(unfinished.items()):
            try:
                delta = stream.take()
            except HeadraceError as error:
                del unfinished[member]
                yield MemberDelta(member, error=error)
                continue
            if delta is None:
                continue
            if delta.finish_reason is not None:
                del unfinished[member]
            yield MemberDelta(member, delta)
        if unfinished:
            await ready.wait()
            ready.clear()


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
