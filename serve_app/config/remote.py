"""Servers elsewhere that answer for a node: `engine: openai`."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from serve_app.config.section import Section
from serve_app.core import ConfigError
from serve_app.endpoints import api_root

Seconds = Annotated[float, Field(gt=0, le=86_400)]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"})
_OUR_HEADERS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept"})
_OUR_PARAMETERS = frozenset({"model", "messages", "prompt", "stream", "max_tokens", "stop"})


def _address(url: str) -> str:
    """Refused without being repeated: it may hold a password."""
    try:
        api_root(url)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return url


def _variable(name: str) -> str:
    """A key that was written here by mistake is refused, and not repeated."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError("name an environment variable here, never the key itself")
    return name


class RemoteServer(Section):
    """One OpenAI-compatible server: a provider, vLLM, llama.cpp, another Headrace."""

    base_url: Annotated[str, AfterValidator(_address)] = Field(
        description="Where its API begins, such as `https://api.openai.com/v1`; without a path, `/v1` is meant."
    )
    model: str = Field(min_length=1, description="What the server calls the model.")
    api_key_env: Annotated[str, AfterValidator(_variable)] | None = Field(
        None, description="Name of the environment variable of the replica that holds the API key. Unset: no key."
    )
    api_key_header: str = Field(
        "authorization", description="Header that carries the key: `authorization` (as a bearer token), or `api-key`."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Further headers of every request. No secrets: settings are no place for them.",
    )
    adapters: dict[str, str] = Field(
        default_factory=dict,
        description="Adapter name -> what the server calls the model with it, as vLLM's `--lora-modules` does. A call "
        "for an adapter goes only to servers that name it.",
    )
    leave_out: list[str] = Field(
        default_factory=list,
        description="Request parameters that this server does not take, never sent: `temperature`, `top_p`, "
        "`logprobs`, `stream_options`, …",
    )

    @model_validator(mode="after")
    def _headers_are_plain(self) -> Self:
        for name, value in {**self.headers, self.api_key_header: ""}.items():
            if not (_HEADER.fullmatch(name) and value.isascii() and (value.isprintable() or not value)):
                raise ValueError(f"headers: {name!r} is no header that HTTP can carry")
        for name in self.headers:
            if name.lower() in _SECRET_HEADERS or name.lower() == self.api_key_header.lower():
                raise ValueError(f"headers: {name!r} carries a secret; name its variable in `api_key_env` instead")
            if name.lower() in _OUR_HEADERS:
                raise ValueError(f"headers: {name!r} is set by the engine; remove it")
        for name in self.leave_out:
            if name in _OUR_PARAMETERS:
                raise ValueError(f"leave_out: no call can do without {name!r}")
        return self


class BreakerSettings(Section):
    """When a server that fails is left alone, and for how long."""

    failures: int = Field(5, ge=1, description="Failures in a row after which a server is left alone.")
    open_s: Seconds = Field(5.0, description="Seconds until one call tries it again; doubled each time that fails.")
    max_open_s: Seconds = Field(120.0, description="The longest of these waits.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_open_s < self.open_s:
            raise ValueError(f"max_open_s {self.max_open_s:g} is below open_s {self.open_s:g}")
        return self


class RemoteSettings(Section):
    """Servers that answer for this node, the first that can; how long they may take, and how often they are asked."""

    servers: list[RemoteServer] = Field(
        min_length=1, max_length=32, description="In order of preference: the next one answers where the first cannot."
    )
    timeout_s: Seconds = Field(120.0, description="Seconds for one call in all, retries and waits included.")
    connect_timeout_s: Seconds = Field(5.0, description="Seconds to reach a server.")
    first_token_timeout_s: Seconds = Field(
        30.0, description="Seconds from asking a server until its first token; then the next server is asked."
    )
    silence_timeout_s: Seconds = Field(
        30.0, description="Seconds without a token, once there was one; then the answer has failed."
    )
    max_retries: int = Field(
        2, ge=0, le=20, description="How often all servers that failed are asked again, as long as no token came."
    )
    backoff_s: Seconds = Field(
        0.5,
        description="Bound of the wait before the first of these rounds; it doubles, and the wait is any part of it.",
    )
    max_wait_s: Seconds = Field(
        10.0, description="The longest wait for a rate limit to be renewed; where it takes longer, the answer is 429."
    )
    top_logprobs: int = Field(
        5,
        ge=0,
        le=20,
        description="Alternatives asked for with every token, to estimate entropy and margin from; 0: only the token's "
        "own log-probability.",
    )
    breaker: BreakerSettings = Field(default_factory=BreakerSettings, description="When a server is left alone.")

    @model_validator(mode="after")
    def _a_server_that_hangs_is_noticed(self) -> Self:
        if self.first_token_timeout_s >= self.timeout_s:
            raise ValueError(
                f"first_token_timeout_s {self.first_token_timeout_s:g} is not below timeout_s {self.timeout_s:g}, so "
                "that no call would have time for the next server"
            )
        return self
