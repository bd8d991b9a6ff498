"""A scripted engine: a true core.Engine with set text, confidence, latency and faults. No torch, no model.

Its tokens are words with the white space before them ("The", " cat", " sat"); there is no end token, so
`usage.completion_tokens` is the number of words sent. The same call always gives the same deltas, one token each.
It honours max_tokens, stop strings, top_logprobs, and raises what a real engine raises; a `timeout_s` that the waits
of its script exceed ends in DeadlineExceeded, whatever the clock says.

    engine = FakeEngine({"hi": "good day", "legal": FakeAnswer("it depends", logprob=-2.0)}, adapters={"legal": "v1"})
    async for delta in engine.generate(call): ...
    engine.calls, engine.cancelled, engine.finished       # what happened, in order
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serve_app.core import (
    Call,
    DeadlineExceeded,
    Delta,
    EngineError,
    EngineInfo,
    FinishReason,
    ModelNotFound,
    Overloaded,
    PromptTooLong,
    TokenStat,
    Usage,
)

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class FakeAnswer:
    """One scripted answer and what the engine claims to have seen while choosing it."""

    text: str
    logprob: float | Sequence[float] = -0.05
    """Of every token, or one per token; the last of a short sequence is repeated."""
    entropy: float = 0.2
    """Nats, of every token."""
    margin: float = 3.0
    """Nats, of every token."""
    fail_after: int | None = None
    """Raise EngineError once that many tokens are out (0: before the first)."""


Script = Mapping[str, str | FakeAnswer] | Callable[[Call], str | FakeAnswer]
"""Answers by the last user message (or raw prompt), else by adapter name; or a function of the whole call."""


@dataclass
class FakeEngine:
    """Answers from a script. Safe for concurrent calls from one event loop, as core.Engine asks."""

    script: Script = field(default_factory=dict)
    default: str | FakeAnswer = "a scripted answer"
    """The answer to what a script that is a mapping does not hold."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Adapter name -> version; a call for another name raises ModelNotFound."""
    model: str = "fake"
    first_token_s: float = 0.0
    """Wait before the first token, added to `token_s`."""
    token_s: float = 0.0
    """Wait before each token; also what `usage.busy_s` counts per token."""
    max_context_tokens: int = 2048
    """Words of prompt and answer together; a prompt that fills it raises PromptTooLong."""
    max_tokens: int = 256
    """For a call that sets none."""
    max_calls: int | None = None
    """Calls answered at once; one more raises Overloaded. None: no bound."""
    calls: list[Call] = field(default_factory=list, init=False)
    """Every call begun, in order, refused ones included."""
    cancelled: list[str] = field(default_factory=list, init=False)
    """call_id of those whose iterator was closed before its end."""
    finished: list[str] = field(default_factory=list, init=False)
    """call_id of those that sent a finish_reason."""
    _active: int = field(default=0, init=False)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """Stream the scripted answer to `call`, one word a delta."""
        self.calls.append(call)
        num_prompt = self._admit(call)
        answer = self._answer(call)
        self._active += 1
        try:
            async for delta in self._stream(call, answer, num_prompt):
                if delta.finish_reason is not None:
                    self.finished.append(call.call_id)
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            if call.call_id not in self.finished:
                self.cancelled.append(call.call_id)
            raise
        finally:
            self._active -= 1

    async def info(self) -> EngineInfo:
        """The state of the fake: its adapters and the calls it is answering."""
        return EngineInfo(
            model=self.model,
            max_context_tokens=self.max_context_tokens,
            adapters=dict(self.adapters),
            dtype="none",
            device="none",
            active_rows=self._active,
        )

    def _admit(self, call: Call) -> int:
        """The prompt's length in words; raises what a real engine raises before its first delta."""
        if call.adapter is not None and call.adapter not in self.adapters:
            raise ModelNotFound(f"no adapter is named {call.adapter!r}", "model", "model_not_found")
        if self.max_calls is not None and self._active >= self.max_calls:
            raise Overloaded(f"{self.model} already answers {self.max_calls} calls; try again later")
        texts = [message.content for message in call.messages] if call.prompt is None else [call.prompt]
        num_prompt = sum(len(text.split()) for text in texts)
        if num_prompt >= self.max_context_tokens:
            raise PromptTooLong(
                f"the prompt has {num_prompt} tokens and the context holds {self.max_context_tokens}: shorten it",
                "messages" if call.prompt is None else "prompt",
                "context_length_exceeded",
            )
        return num_prompt

    def _answer(self, call: Call) -> FakeAnswer:
        if callable(self.script):
            found = self.script(call)
        else:
            found = self.script.get(_last_user_text(call), self.script.get(call.adapter or "", self.default))
        return found if isinstance(found, FakeAnswer) else FakeAnswer(found)

    async def _stream(self, call: Call, answer: FakeAnswer, num_prompt: int) -> AsyncIterator[Delta]:
        sampling = call.sampling
        words, reason = _cut(answer.text, sampling.stop)
        wanted = self.max_tokens if sampling.max_tokens is None else sampling.max_tokens
        room = min(wanted, self.max_context_tokens - num_prompt)
        if len(words) > room:
            words, reason = words[:room], "length"
        await _wait(self.first_token_s, 0.0, call.timeout_s)
        version = self.adapters[call.adapter] if call.adapter is not None else None
        for index, word in enumerate(words):
            _fail_at(answer, index)
            await _wait(self.token_s, self.first_token_s + self.token_s * index, call.timeout_s)
            yield Delta(
                text=word,
                tokens=(_stat(answer, index, word, sampling.top_logprobs),),
                finish_reason=reason if index == len(words) - 1 and answer.fail_after != len(words) else None,
                usage=Usage(num_prompt, 0, index + 1, self.token_s * (index + 1)),
                adapter_version=version,
            )
        _fail_at(answer, len(words))
        if not words:
            yield Delta("", finish_reason=reason, usage=Usage(num_prompt), adapter_version=version)


def _last_user_text(call: Call) -> str:
    if call.prompt is not None:
        return call.prompt
    return next((message.content for message in reversed(call.messages) if message.role == "user"), "")


def _cut(text: str, stop: Sequence[str]) -> tuple[list[str], FinishReason]:
    """The words before the first stop string, and why a complete answer ends."""
    ends = [at for at in (text.find(one) for one in stop) if at >= 0]
    return _WORD.findall(text[: min(ends, default=len(text))]), "stop"


async def _wait(wait_s: float, waited_s: float, timeout_s: float | None) -> None:
    """Wait, but no longer than the call may take in all. Raises DeadlineExceeded if that is not enough."""
    left_s = None if timeout_s is None else timeout_s - waited_s
    if left_s is None or wait_s < left_s:
        await asyncio.sleep(wait_s)
        return
    await asyncio.sleep(max(0.0, left_s))
    raise DeadlineExceeded(f"the scripted engine does not answer within {timeout_s:g} s; allow more time")


def _fail_at(answer: FakeAnswer, num_sent: int) -> None:
    if answer.fail_after == num_sent:
        raise EngineError(f"the scripted engine failed after {num_sent} tokens")


def _stat(answer: FakeAnswer, index: int, word: str, num_top: int) -> TokenStat:
    logprobs = [answer.logprob] if isinstance(answer.logprob, int | float) else list(answer.logprob)
    logprob = float(logprobs[min(index, len(logprobs) - 1)])
    others = tuple((f"{word}~{rank}", logprob - answer.margin - rank) for rank in range(max(0, num_top - 1)))
    return TokenStat(
        token_id=zlib.crc32(word.encode()),
        text=word,
        logprob=logprob,
        entropy=answer.entropy,
        margin=answer.margin,
        top=((word, logprob), *others) if num_top else (),
    )
