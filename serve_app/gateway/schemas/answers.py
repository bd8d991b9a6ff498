"""Answers of /v1/chat/completions and /v1/completions, whole and in chunks."""

from typing import Literal

from pydantic import Field

from serve_app.core import FinishReason, Tier
from serve_app.gateway.schemas.accounts import AnswerAccount
from serve_app.gateway.schemas.shown import Schema, at_times


class PromptTokensDetails(Schema):
    """More of the prompt's tokens."""

    cached_tokens: int = Field(description="Included in `prompt_tokens`: not computed again.")


class Usage(Schema):
    """Tokens of the answer that was given. Drafts that were thrown away are in `headrace.attempts` alone."""

    prompt_tokens: int = Field(description="Of the prompt, once.")
    completion_tokens: int = Field(description="Of all choices.")
    total_tokens: int = Field(description="The sum of both.")
    prompt_tokens_details: PromptTokensDetails = Field(description="More of the prompt's.")


class Candidate(Schema):
    """A token and its log-probability."""

    token: str = Field(description="Its text.")
    logprob: float = Field(description="Natural logarithm, at temperature 1.")
    bytes: list[int] | None = Field(description="UTF-8 of the text; null for a part of a character.")


class ChatToken(Candidate):
    """A token of the answer."""

    top_logprobs: list[Candidate] = Field(description="The likeliest tokens in its place.")


class ChatLogprobs(Schema):
    """The tokens of a choice or of a chunk. The end token, which has no text, is left out."""

    content: list[ChatToken] = Field(description="In their order.")
    refusal: None = Field(description="Always null.")


class ChatAnswerMessage(Schema):
    """The turn that answers."""

    role: Literal["assistant"] = Field(description="Always the same.")
    content: str = Field(description="The text.")
    refusal: None = Field(description="Always null.")


class ChatChoice(Schema):
    """One answer."""

    index: int = Field(description="From 0.")
    message: ChatAnswerMessage = Field(description="The answer.")
    logprobs: ChatLogprobs | None = Field(description="Null unless they were asked for.")
    finish_reason: FinishReason = Field(description="Why it ended.")


class _Envelope(Schema):
    id: str = Field(description="`chatcmpl-` or `cmpl-`, and the query's id.")
    object: str = Field(description="What this is.")
    created: int = Field(description="Seconds since the epoch.")
    model: str = Field(description="The name that was asked for.")
    service_tier: Tier = at_times("Only where the request named one.")


class ChatCompletion(_Envelope):
    """The whole answer to a conversation."""

    object: Literal["chat.completion"] = Field(description="What this is.")
    choices: list[ChatChoice] = Field(description="As many as `n`.")
    usage: Usage = Field(description="Its tokens.")
    headrace: AnswerAccount = Field(description="What answered, and what it cost.")


class ChatDelta(Schema):
    """What is new; empty in the last chunk of a choice."""

    role: Literal["assistant"] = at_times("In the first chunk of a choice.")
    content: str = at_times("More text.")


class ChatChunkChoice(Schema):
    """A piece of one answer."""

    index: int = Field(description="From 0.")
    delta: ChatDelta = Field(description="What is new.")
    logprobs: ChatLogprobs | None = Field(description="Of its tokens; null unless they were asked for.")
    finish_reason: FinishReason | None = Field(description="Why the choice ended; null: it goes on.")


class _ChunkEnvelope(_Envelope):
    usage: Usage | None = at_times("With `include_usage`: null in all chunks but the last.")
    headrace: AnswerAccount = at_times("In the last chunk before `[DONE]`.")


class ChatCompletionChunk(_ChunkEnvelope):
    """One event of a stream."""

    object: Literal["chat.completion.chunk"] = Field(description="What this is.")
    choices: list[ChatChunkChoice] = Field(description="One; none in the last chunk with `include_usage`.")


class TextLogprobs(Schema):
    """The tokens of a choice or of a chunk, in lists of equal length."""

    tokens: list[str] = Field(description="Their texts.")
    token_logprobs: list[float] = Field(description="Natural logarithms, at temperature 1.")
    top_logprobs: list[dict[str, float]] | None = Field(description="The likeliest texts in their places; null for 0.")
    text_offset: list[int] = Field(description="Characters from the start of the answer.")


class TextChunkChoice(Schema):
    """A piece of one answer."""

    index: int = Field(description="From 0.")
    text: str = Field(description="More text.")
    logprobs: TextLogprobs | None = Field(description="Of its tokens; null unless they were asked for.")
    finish_reason: FinishReason | None = Field(description="Why the choice ended; null: it goes on.")


class TextChoice(TextChunkChoice):
    """One answer."""

    text: str = Field(description="The text, without the prompt.")
    finish_reason: FinishReason = Field(description="Why it ended.")


class TextCompletion(_Envelope):
    """The whole answer to a raw text."""

    object: Literal["text_completion"] = Field(description="What this is.")
    choices: list[TextChoice] = Field(description="As many as `n`.")
    usage: Usage = Field(description="Its tokens.")
    headrace: AnswerAccount = Field(description="What answered, and what it cost.")


class TextCompletionChunk(_ChunkEnvelope):
    """One event of a stream."""

    object: Literal["text_completion"] = Field(description="What this is.")
    choices: list[TextChunkChoice] = Field(description="One; none in the last chunk with `include_usage`.")
