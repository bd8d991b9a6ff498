"""A scripted engine: a true core.GroupEngine with set text, confidence, latency and faults. No torch, no model.

Its tokens are words with the white space before them ("The", " cat", " sat"); there is no end token, so
`usage.completion_tokens` is the number of words sent. The same call always gives the same deltas, one token each.
It honours max_tokens, stop strings, top_logprobs, and raises what a real engine raises; a `timeout_s` that the waits
of its script exceed ends in DeadlineExceeded, whatever the clock says.

    engine = FakeEngine({"hi": "good day", "legal": FakeAnswer("it depends", logprob=-2.0)}, adapters={"legal": "v1"})
    async for delta in engine.generate(call): ...
    engine.calls, engine.cancelled, engine.finished       # what happened, in order

Groups are answered side by side, or in lock step.

It is an AdapterHost, as engines with a model are: versions come and go, and `answers` may differ between them.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from serve_app.adapters import AdapterSpec, load
from serve_app.core import (
    Call,
    DeadlineExceeded,
    Delta,
    EngineError,
    EngineInfo,
    FinishReason,
    Group,
    MemberDelta,
    Overloaded,
    PromptTooLong,
    TokenStat,
    Usage,
)
from serve_app.engines.adapters import named_adapter
from serve_app.engines.groups import check_group, side_by_side
from serve_app.engines.versions import no_version

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
    """Adapter name -> live version; a call for another name raises ModelNotFound."""
    answers: Mapping[str, str | FakeAnswer] = field(default_factory=dict)
    """Adapter version -> its answer, whatever the script says."""
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
    pinned: set[str] = field(default_factory=set, init=False)
    """Versions that are pinned."""
    _active: int = field(default=0, init=False)
    _held: set[tuple[str, str]] = field(default_factory=set, init=False)
    """Name and version of those that are not live, and of some that are."""

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """Stream the scripted answer to `call`, one word a delta."""
        self.calls.append(call)
        version = self._version(call)
        num_prompt = self._admit(call)
        answer = self._answer(call, version)
        self._active += 1
        try:
            async for delta in self._stream(call, answer, num_prompt, version):
                if delta.finish_reason is not None:
                    self.finished.append(call.call_id)
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            if call.call_id not in self.finished:
                self.cancelled.append(call.call_id)
            raise
        finally:
            self._active -= 1

    async def generate_group(self, group: Group) -> AsyncGenerator[MemberDelta]:
        """See GroupEngine. In lock step every member says, word for word, what the script has for the first."""
        if not group.lock_step:
            async with aclosing(side_by_side(self, group)) as said:
                async for one in said:
                    yield one
            return
        check_group(group)
        self.calls.extend(group.calls)
        versions = [self._version(call) for call in group.calls]
        num_prompts = [self._admit(call) for call in group.calls]
        first = group.calls[0]
        self._active += len(group.calls)
        try:
            async for delta in self._stream(first, self._answer(first, versions[0]), num_prompts[0], versions[0]):
                if delta.finish_reason is not None:
                    self.finished.extend(call.call_id for call in group.calls)
                for member, (version, num_prompt) in enumerate(zip(versions, num_prompts, strict=True)):
                    usage = replace(delta.usage, prompt_tokens=num_prompt)
                    yield MemberDelta(member, replace(delta, usage=usage, adapter_version=version))
        except (asyncio.CancelledError, GeneratorExit):
            if first.call_id not in self.finished:
                self.cancelled.extend(call.call_id for call in group.calls)
            raise
        finally:
            self._active -= len(group.calls)

    async def info(self) -> EngineInfo:
        """The state of the fake: its live adapters and the calls it is answering."""
        return EngineInfo(
            model=self.model,
            max_context_tokens=self.max_context_tokens,
            adapters=dict(self.adapters),
            dtype="none",
            device="none",
            active_rows=self._active,
            pinned_adapters=tuple(name for name, version in self.adapters.items() if version in self.pinned),
        )

    def read_adapter(self, folder: Path, name: str, base_override: bool) -> AdapterSpec:
        """See AdapterHost; there is no base that it could not fit."""
        return load(folder, name)

    async def add_version(self, adapter: AdapterSpec) -> None:
        """See AdapterHost."""
        self._held.add((adapter.name, adapter.version))

    async def pin_version(self, version: str, pinned: bool) -> None:
        """See AdapterHost; there is always room."""
        (self.pinned.add if pinned else self.pinned.discard)(version)

    async def drop_version(self, name: str, version: str) -> None:
        """See AdapterHost."""
        self._held.discard((name, version))
        if self.adapters.get(name) == version:
            self.adapters = {each: live for each, live in self.adapters.items() if each != name}
        if not any(version == other for _, other in (*self._held, *self.adapters.items())):
            self.pinned.discard(version)

    async def set_live(self, names: Mapping[str, str]) -> None:
        """See AdapterHost."""
        self._held.update(self.adapters.items())
        if missing := dict(names).items() - self._held:
            raise EngineError(f"adapter {min(missing)} is not held; add it first")
        self.adapters = dict(names)

    def _version(self, call: Call) -> str | None:
        name, wanted = call.adapter, call.adapter_version
        live = named_adapter(self.adapters, name) if wanted is None else None
        if name is None or wanted is None:
            return live
        if (name, wanted) not in self._held and self.adapters.get(name) != wanted:
            raise no_version(name, wanted)
        return wanted

    def _admit(self, call: Call) -> int:
        """The prompt's length in words; raises what a real engine raises before its first delta."""
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

    def _answer(self, call: Call, version: str | None) -> FakeAnswer:
        if version is not None and version in self.answers:
            found = self.answers[version]
        elif callable(self.script):
            found = self.script(call)
        else:
            found = self.script.get(_last_user_text(call), self.script.get(call.adapter or "", self.default))
        return found if isinstance(found, FakeAnswer) else FakeAnswer(found)

    async def _stream(
        self, call: Call, answer: FakeAnswer, num_prompt: int, version: str | None
    ) -> AsyncIterator[Delta]:
        sampling = call.sampling
        words = _cut(answer.text, sampling.stop)
        reason: FinishReason = "stop"
        wanted = self.max_tokens if sampling.max_tokens is None else sampling.max_tokens
        room = min(wanted, self.max_context_tokens - num_prompt)
        if len(words) > room:
            words, reason = words[:room], "length"
        await _wait(self.first_token_s, 0.0, call.timeout_s)
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


def _cut(text: str, stop: Sequence[str]) -> list[str]:
    """The words before the first stop string."""
    ends = [at for at in (text.find(one) for one in stop) if at >= 0]
    return _WORD.findall(text[: min(ends, default=len(text))])


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
