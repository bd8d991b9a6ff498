"""A call as the body of a request, in the words that its server understands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.config.nodes import NodeSettings
from serve_app.config.remote import RemoteServer
from serve_app.core import Call, PromptTooLong, RequestError
from serve_app.endpoints import Refusal

_OWN_WISHES = ("stream_options", "top_logprobs", "logprobs")
"""What is asked for although no caller did: a server that refuses one of these is asked without it."""
_TOO_LONG = re.compile(r"context (length|size|window)|too many tokens|prompt is too long", re.IGNORECASE)
_CONTEXT = re.compile(r"(?:context (?:length|size|window)[^\d]{0,40}|the context holds )(\d+)", re.IGNORECASE)
_MOST_TOKENS = re.compile(r"max_tokens=\d+ cannot be greater than max_model_len=(\d+)")
_PROMPT = re.compile(
    r"the prompt has (\d+) tokens|\((\d+) in (?:the |your )?(?:messages|prompt)"
    r"|(?:has|contains at least) (\d+) input tokens|resulted in (\d+) tokens"
    r"|request \((\d+) tokens\)|requested (\d+) tokens(?! \()",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call with the node's defaults filled in."""

    call: Call
    max_tokens: int
    temperature: float
    top_p: float
    num_top: int
    """Alternatives wanted with every token, the caller's or the engine's, whichever is more."""
    prompt_tokens: int
    """Estimate, until the server says."""

    @property
    def path(self) -> str:
        """Under the root of the API."""
        return "/chat/completions" if self.call.prompt is None else "/completions"


def ask_of(call: Call, node: NodeSettings, num_top: int) -> Ask:
    """Fill the gaps and check what no server needs to be asked. Raises RequestError that names the field."""
    sampling = call.sampling
    max_tokens = node.max_tokens if sampling.max_tokens is None else sampling.max_tokens
    if max_tokens < 1:
        raise RequestError(f"max_tokens must be at least 1, not {max_tokens}", "max_tokens")
    if "" in sampling.stop:
        raise RequestError("stop holds an empty string; leave it out", "stop")
    return Ask(
        call,
        max_tokens,
        node.temperature if sampling.temperature is None else sampling.temperature,
        node.top_p if sampling.top_p is None else sampling.top_p,
        max(num_top, sampling.top_logprobs),
        _estimated_tokens([message.content for message in call.messages] if call.prompt is None else [call.prompt]),
    )


def _estimated_tokens(texts: Sequence[str]) -> int:
    """Four bytes a token and four tokens a turn: what a call is billed for that broke off before the server counted.

    >>> _estimated_tokens(["one two three"])
    8
    """
    return sum(4 + -(-len(text.encode(errors="replace")) // 4) for text in texts)


@dataclass
class Dialect:
    """What one server turned out not to take. Starts from its settings, learns from its refusals."""

    server: RemoteServer
    left_out: set[str] = field(default_factory=set)
    length_name: str = "max_tokens"

    def __post_init__(self) -> None:
        self.left_out.update(self.server.leave_out)

    def body(self, ask: Ask, max_tokens: int) -> dict[str, Any]:
        """The request, streamed."""
        call = ask.call
        model = self.server.model if call.adapter is None else self.server.adapters[call.adapter]
        body: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
        if call.prompt is None:
            body["messages"] = [{"role": one.role, "content": one.content} for one in call.messages]
            body |= {"logprobs": True, "top_logprobs": ask.num_top, self.length_name: max_tokens}
        else:
            body |= {"prompt": call.prompt, "logprobs": ask.num_top, "max_tokens": max_tokens}
        body |= {"temperature": ask.temperature, "top_p": ask.top_p}
        if call.sampling.seed is not None:
            body["seed"] = call.sampling.seed
        if call.sampling.stop:
            body["stop"] = list(call.sampling.stop)
        if "logprobs" in self.left_out:
            body.pop("top_logprobs", None)
        return {name: value for name, value in body.items() if name not in self.left_out}

    def learn(self, refusal: Refusal, sent: dict[str, Any], wanted_top: int) -> bool:
        """Whether the server refused something that can be said in another way; from now on it is.

        `wanted_top`: alternatives that the caller asked for: these are never left out in silence.
        """
        if refusal.status not in (400, 422):
            return False
        renamed = refusal.param in (None, "max_tokens") and re.search(
            "unsupported.*max_completion_tokens", str(refusal), re.I
        )
        if "messages" in sent and "max_tokens" in sent and renamed:
            self.length_name = "max_completion_tokens"
            return True
        for name in _OWN_WISHES:
            if name in sent and _is_about(refusal, name) and not (wanted_top and "logprobs" in name):
                self.left_out.add(name)
                return True
        return False


def _is_about(refusal: Refusal, name: str) -> bool:
    """Whether it names this parameter, and not only one whose name holds this one's."""
    if refusal.param is not None:
        return refusal.param.split(".")[0] == name
    return re.search(rf"(?<![a-z_]){name}(?![a-z_])", refusal.message) is not None


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a server said of a prompt that does not fit, in tokens; None where it did not say."""

    prompt: int | None
    context: int | None


def lengths_of(refusal: Refusal) -> Lengths | None:
    """None: the refusal is about something else.

    >>> said = "This model's maximum context length is 4096 tokens. However, you requested 4300 tokens (4200 in the"
    >>> lengths_of(Refusal(400, said + " messages, 100 in the completion).", code="context_length_exceeded"))
    Lengths(prompt=4200, context=4096)
    """
    told = refusal.told or {}
    coded = refusal.code == "context_length_exceeded" or refusal.type == "exceed_context_size_error"
    if refusal.status not in (400, 413, 422) or not (coded or _TOO_LONG.search(refusal.message)):
        return None
    return Lengths(
        _whole(told.get("n_prompt_tokens")) or _found(_PROMPT, refusal.message),
        _whole(told.get("n_ctx")) or _found(_CONTEXT, refusal.message),
    )


def most_tokens(refusal: Refusal) -> int | None:
    """The longest answer that a server takes an order for, in tokens, where it refused a longer one; vLLM's words.

    >>> most_tokens(Refusal(400, "max_tokens=256 cannot be greater than max_model_len=128. Please request fewer"))
    127
    """
    context = _found(_MOST_TOKENS, refusal.message)
    return context - 1 if context else None


def too_long(ask: Ask, lengths: Lengths, context_tokens: int) -> PromptTooLong:
    """The error with both lengths; `context_tokens` counts where the server does not name its own."""
    prompt = f"about {ask.prompt_tokens}" if lengths.prompt is None else str(lengths.prompt)
    return PromptTooLong(
        f"the prompt has {prompt} tokens and the context holds {lengths.context or context_tokens}: shorten it",
        "messages" if ask.call.prompt is None else "prompt",
        "context_length_exceeded",
    )


def _found(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return next((int(group) for group in found.groups() if group), None) if found else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
