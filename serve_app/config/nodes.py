"""Which model each engine node runs, and how much of it at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from serve_app.config.remote import RemoteSettings
from serve_app.config.section import Section
from serve_app.core import ConfigError
from serve_app.endpoints import key_of

ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What an adapter may be called, as a whole; it is also a model name and a folder name."""


class NodeSettings(Section):
    """One engine node: a base model, its batch and its context."""

    model: str = Field(description="Catalogue name or local directory of the base model.")
    engine: str = Field(
        "local",
        description="What runs the model: `local` (torch, in the replica), `vllm` (in an environment of its own, see "
        "`python`), `openai` (a server elsewhere, see `remote`), `fake` (scripted answers, to try a graph) or "
        "`package.module:function` of your own.",
    )
    python: str | None = Field(
        None,
        description="Interpreter of this node's replicas, an absolute path that holds on every machine they run on: "
        "for `engine: vllm`, that of the environment vLLM is installed in. Unset: the one that runs the cluster.",
    )
    max_rows: int = Field(16, ge=1, le=1024, description="Rows in one batch: calls answered at the same time.")
    max_context_tokens: int = Field(
        2048, ge=32, le=1_048_576, description="Prompt and answer together, in tokens; bounds the key-value cache."
    )
    max_waiting: int = Field(64, ge=0, description="Calls that may wait for a row; one more is refused with 429.")
    dtype: Literal["auto", "bfloat16", "float32", "float16"] = Field(
        "auto", description="Number type of weights and cache; `auto` times bf16 against fp32 at start-up."
    )
    linear: Literal["auto", "plain", "packed", "int8", "int4"] = Field(
        "auto",
        description="How the base's matrix products are done; `auto` times `plain` against `packed` at start-up. "
        "`int8` and `int4` hold the base's weights in 8 or 4 bits, which changes the answers: never chosen unasked.",
    )
    kernels: Literal["auto", "native", "plain"] = Field(
        "auto",
        description="What lies between the matrix products: `native` is compiled on this machine, for CPUs, and needs "
        "`g++`; `plain` is torch; `auto` is native where it can be had.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    gate_cores: int | None = Field(
        None, ge=1, description="CPU cores that the engines of this machine share: a step waits for its threads' cores."
    )
    step_tokens: int = Field(
        160,
        ge=2,
        le=65_536,
        description="Tokens processed in one step, a token of each answering row first, then prompts; more than "
        "`max_rows`. Bounds how long a long prompt holds up the other rows.",
    )
    prefix_slots: int = Field(
        8,
        ge=0,
        le=1024,
        description="Cache slots beyond `max_rows`. They keep the prompts and answers of finished calls, so that a "
        "call that begins alike reuses what they have in common.",
    )
    cache_mb: int | None = Field(
        None,
        ge=1,
        description="Bound on the key-value cache, in MiB; where it is less than `max_rows` and `prefix_slots` need, "
        "there are fewer slots and so, at worst, fewer rows. Unset: no bound.",
    )
    adapter_slots: int = Field(
        32, ge=1, le=4096, description="Adapters held ready at a time; the others are loaded when they are asked for."
    )
    max_adapter_rank: int = Field(
        64, ge=1, le=512, description="The highest rank of an adapter; room for it is set aside in every adapter slot."
    )
    draft_tokens: int = Field(
        7,
        ge=0,
        le=16,
        description="Tokens guessed ahead per row and step from the row's own text and checked in the same pass; 0: "
        "none. Answers are the same, and come faster where they repeat what was said before.",
    )
    max_tokens: int = Field(
        256, ge=1, description="Answer length where neither request nor adapter names one, in tokens."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature where nobody names one; 0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus share where nobody names one.")
    remote: RemoteSettings | None = Field(
        None, description="For `engine: openai`: the servers that answer. `model` is then only a name, for prices."
    )

    @model_validator(mode="after")
    def _every_row_fits_a_step(self) -> Self:
        if self.step_tokens <= self.max_rows:
            raise ValueError(
                f"step_tokens {self.step_tokens} is not more than max_rows {self.max_rows}; "
                "raise step_tokens or lower max_rows"
            )
        return self

    @model_validator(mode="after")
    def _servers_are_there_where_they_are_asked(self) -> Self:
        if self.engine == "openai" and self.remote is None:
            raise ValueError("engine openai needs a section `remote` that names its servers")
        if self.remote is not None and self.engine in ("local", "vllm", "fake"):
            raise ValueError(f"a section `remote` means nothing to engine {self.engine}; write `engine: openai`")
        return self

    @field_validator("python")
    @classmethod
    def _holds_on_every_machine(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError(
                f"{value!r} is no absolute path: replicas have another working directory; write it in full"
            )
        return value

    @model_validator(mode="after")
    def _vllm_runs_the_base_as_it_is(self) -> Self:
        if self.engine == "vllm" and self.linear in ("int8", "int4"):
            raise ValueError(f"linear {self.linear} is of engine local; engine vllm runs the base as its files have it")
        return self


class AdapterSource(Section):
    """Where an adapter comes from."""

    path: str = Field(description="A PEFT directory, or `shipped:NAME` for a specialist that comes with the package.")
    base_override: bool = Field(
        False, description="Accept an adapter made for another base, unverified; its shapes must fit all the same."
    )


def check_server_keys(nodes: Mapping[str, NodeSettings]) -> int:
    """How many servers of others get a key, for each of which the environment variable is set here.

    `nodes`: by their section of the settings. Raises ConfigError, which names the server, where one is not set.
    """
    servers = [
        (name, server) for name, node in nodes.items() for server in (node.remote.servers if node.remote else ())
    ]
    asked = [(name, server.model, server.api_key_env) for name, server in servers if server.api_key_env]
    for name, model, variable in asked:
        try:
            key_of(variable)
        except ConfigError as error:
            raise ConfigError(f"{name}.remote.servers, {model}, api_key_env: {error}") from error
    return len(asked)
