"""What clients may ask: the bodies of /v1/chat/completions and /v1/completions, checked field by field."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serve_app.core import Message, SamplingParams, Tier
from serve_app.gateway.parameters import (
    CHANGES_NOTHING,
    CHAT_UNSUPPORTED,
    MESSAGE_UNSUPPORTED,
    TEXT_UNSUPPORTED,
    let_through,
)

MAX_MESSAGES = 2048
"""More turns, or parts of one, are refused before they are looked at: to check them would hold up other queries."""

_INT64 = 2**63
_MAX_TOKENS = 2**31 - 1
"""Of an answer: more than any model has room for, and what traces and engines can hold."""


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _only_prompt(prompt: Any) -> Any:
    """A list of one text counts as that text; OpenAI's lists of token ids and of several prompts are refused."""
    if isinstance(prompt, list):
        if len(prompt) == 1 and isinstance(prompt[0], str):
            return prompt[0]
        raise PydanticCustomError("one_prompt", "only one text is supported: no token ids, no list of prompts")
    return prompt


def _joined(content: Any) -> Any:
    """Text parts become one text, a line each."""
    if not isinstance(content, list):
        return content
    texts = []
    if len(content) > MAX_MESSAGES:
        raise PydanticCustomError("part", "there are more than {bound} parts", {"bound": MAX_MESSAGES})
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(kind, str):
            raise PydanticCustomError("part", "part {index} is not an object with a type", {"index": index})
        if kind != "text":
            raise PydanticCustomError(
                "part", "part {index} is of type '{kind}', and only text is supported", {"index": index, "kind": kind}
            )
        if not isinstance(part.get("text"), str):
            raise PydanticCustomError("part", "part {index} has no text", {"index": index})
        texts.append(part["text"])
    return "\n".join(texts)


class TextPart(BaseModel):
    """A part of a message. The parts of one message are joined by line breaks."""

    type: Literal["text"] = Field(description="Only text is supported.")
    text: str = Field(description="The text.")


PromptText = Annotated[str, Field(min_length=1)]
StopString = Annotated[str, Field(min_length=1, max_length=256)]
StopList = Annotated[list[StopString], Field(max_length=16)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(_Body):
    """How a stream is sent."""

    include_usage: bool | None = Field(None, description="Send a last chunk with the token counts and no choices.")
    include_obfuscation: bool | None = Field(None, description="Accepted; no padding is ever sent.")


class SamplingBody(_Body):
    """What both APIs share. Null is the same as leaving a parameter out."""

    model: str = Field(min_length=1, max_length=256, description="A name from /v1/models, such as `auto`.")
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=_MAX_TOKENS,
        description="Longest answer; default: the adapter's, else the engine's, as the settings have it.",
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Default: the adapter's, else the engine's, which is 0 (greedy)."
    )
    top_p: float | None = Field(None, gt=0, le=1, description="Sample from the most likely tokens of this total.")
    seed: int | None = Field(
        None,
        ge=-_INT64,
        lt=_INT64,
        description="Equal seeds give equal samples; choice number i is sampled with seed + i.",
    )
    stop: Annotated[StopList | None, BeforeValidator(_as_list, json_schema_input_type=StopString | StopList | None)] = (
        Field(None, description="A text, or up to 16, before which the answer ends; not part of it.")
    )
    n: int | None = Field(
        None, ge=1, description="Choices, up to `gateway.max_choices`; they run at once and share one stream."
    )
    stream: bool | None = Field(None, description="Send the answer as server-sent events.")
    stream_options: StreamOptions | None = Field(None, description="How the stream is sent; needs `stream`.")
    service_tier: Literal["auto", "default", "flex", "priority"] | None = Field(
        None,
        description="`flex` waits behind all other queries, is refused first, and costs `prices.flex_factor` of the "
        "price; `priority` goes first, needs the right to it, and costs `prices.priority_factor`; `auto` and `default` "
        "are the usual service.",
    )

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("stream_options", "stream_options needs stream: true")
        return self

    @property
    def tier(self) -> Tier:
        """The class of service."""
        return "default" if self.service_tier is None or self.service_tier == "auto" else self.service_tier

    def sampling(self, max_tokens: int | None, top_logprobs: int) -> SamplingParams:
        """The same as a datatype of core."""
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            top_logprobs=top_logprobs,
        )


class ChatMessage(_Body):
    """One turn."""

    model_config = ConfigDict(json_schema_extra=let_through(MESSAGE_UNSUPPORTED))

    role: Literal["system", "developer", "user", "assistant"] = Field(description="`developer` counts as `system`.")
    content: Annotated[
        str,
        BeforeValidator(
            _joined, json_schema_input_type=str | Annotated[list[TextPart], Field(max_length=MAX_MESSAGES)]
        ),
    ] = Field(description="A text, or a list of text parts.")

    def message(self) -> Message:
        """The same as a datatype of core."""
        return Message("system" if self.role == "developer" else self.role, self.content)


class ChatBody(SamplingBody):
    """The body of POST /v1/chat/completions. Null is the same as leaving a field out."""

    model_config = ConfigDict(json_schema_extra=let_through(CHAT_UNSUPPORTED, CHANGES_NOTHING))

    messages: list[ChatMessage] = Field(
        min_length=1, max_length=MAX_MESSAGES, description="The conversation, oldest turn first."
    )
    max_completion_tokens: int | None = Field(None, ge=1, le=_MAX_TOKENS, description="The newer name of max_tokens.")
    logprobs: bool | None = Field(
        None, description="Report the log-probability of each token: a natural logarithm at temperature 1."
    )
    top_logprobs: int | None = Field(None, ge=0, le=20, description="Alternatives to report; needs logprobs.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "top_logprobs needs logprobs: true")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise PydanticCustomError("max_tokens", "max_tokens and max_completion_tokens differ; send one of them")
        return self


class TextBody(SamplingBody):
    """The body of POST /v1/completions. Null is the same as leaving a field out."""

    model_config = ConfigDict(json_schema_extra=let_through(TEXT_UNSUPPORTED, CHANGES_NOTHING))

    prompt: Annotated[
        PromptText,
        BeforeValidator(
            _only_prompt,
            json_schema_input_type=PromptText | Annotated[list[PromptText], Field(min_length=1, max_length=1)],
        ),
    ] = Field(description="Raw text to continue, or a list of one; no chat template is applied.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Report the log-probability of each token, and this many alternatives."
    )
