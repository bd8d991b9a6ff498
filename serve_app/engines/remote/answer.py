"""A streamed answer, event by event, as Deltas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from serve_app.core import Delta, FinishReason, TokenStat, Usage
from serve_app.engines.remote.asking import Ask
from serve_app.engines.remote.stats import token_stat


class _Token(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _ChosenToken(_Token):
    top_logprobs: list[_Token] | None = None


class _Logprobs(BaseModel):
    """Of a chat in `content`, of a raw prompt in the other lists."""

    content: list[_ChosenToken] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Part(BaseModel):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(BaseModel):
    index: int = 0
    delta: _Part | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Cached(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Event(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class NoEvent(ValueError):
    """What a server sent is not what OpenAI's API sends; the message says in a few words what is wrong."""


class ErrorEvent(Exception):
    """The server says in the stream that it failed; `told` is its error object."""

    def __init__(self, told: Any) -> None:
        super().__init__(told)
        self.told = told


class AnswerReader:
    """Reads the events of one answer. The last delta, with totals and finish reason, comes from `end`.

    Totals before the server's own, which come last, are estimates: of the prompt by its length, of the answer by its
    tokens where their log-probabilities are given, else by its pieces.
    """

    def __init__(self, ask: Ask, version: str | None) -> None:
        self._ask, self._version = ask, version
        self.begun = False
        """A first token is there, if only of hidden reasoning."""
        self.finish_reason: FinishReason | None = None
        self.complete = False
        """The reason is there, and totals that came no sooner."""
        self._num_tokens = 0
        self._usage: Usage | None = None
        self._last: Delta | None = None
        """What came together with the finish reason, held until the totals are there."""

    def read(self, data: bytes) -> Delta | None:
        """The delta of one event, if it holds any. Raises NoEvent or ErrorEvent."""
        try:
            event = _Event.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise NoEvent(f"{where}: {first['msg']}" if where else "it is no JSON object") from None
        if event.error:
            raise ErrorEvent(event.error)
        if event.usage is not None:
            self._usage = _totals(event.usage)
        choice = next((one for one in event.choices or () if one.index == 0), None)
        delta = None if choice is None else self._delta(choice)
        self.complete = self.complete or (self.finish_reason is not None and event.usage is not None)
        return delta

    def end(self) -> Delta:
        """The last delta. Only once there is a finish reason."""
        last = self._last or Delta("")
        return Delta(last.text, last.tokens, self.finish_reason, self._totals(), self._version)

    def _delta(self, choice: _Choice) -> Delta | None:
        part = choice.delta or _Part()
        text = choice.text if choice.text is not None else part.content or ""
        tokens = tuple(self._stats(choice.logprobs)) if choice.logprobs else ()
        self._num_tokens += len(tokens) or bool(text or part.reasoning or part.reasoning_content)
        if text or tokens or part.reasoning or part.reasoning_content or choice.finish_reason:
            self.begun = True
        if choice.finish_reason is not None:
            self.finish_reason = "length" if choice.finish_reason == "length" else "stop"
            self._last = Delta(text, tokens)
            return None
        if not text and not tokens:
            return None
        return Delta(text, tokens, None, self._totals(), self._version)

    def _totals(self) -> Usage:
        return self._usage or Usage(self._ask.prompt_tokens, 0, self._num_tokens)

    def _stats(self, reported: _Logprobs) -> Iterator[TokenStat]:
        num_top = self._ask.call.sampling.top_logprobs
        for token in reported.content or ():
            top = [(_text(one), one.logprob) for one in token.top_logprobs or ()]
            yield token_stat(_text(token), _bytes(token), token.logprob, top, num_top)
        tops = reported.top_logprobs or []
        for index, text in enumerate(reported.tokens or ()):
            logprobs = reported.token_logprobs or []
            logprob = logprobs[index] if index < len(logprobs) else None
            if logprob is not None:
                known: Mapping[str, float] = (tops[index] if index < len(tops) else None) or {}
                yield token_stat(text, text.encode(errors="replace"), logprob, list(known.items()), num_top)


def _totals(usage: _Usage) -> Usage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    prompt_tokens = max(0, usage.prompt_tokens)
    return Usage(prompt_tokens, min(max(0, cached or 0), prompt_tokens), max(0, usage.completion_tokens))


def _bytes(token: _Token) -> bytes:
    """The token's own, where the server tells them and they are bytes."""
    if token.bytes and all(0 <= one < 256 for one in token.bytes):
        return bytes(token.bytes)
    return token.token.encode(errors="replace")


def _text(token: _Token) -> str:
    """With a replacement character where the token is part of a character only."""
    return _bytes(token).decode(errors="replace")
