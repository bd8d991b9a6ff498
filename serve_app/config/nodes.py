"""Which model each engine node runs, and how much of it at once."""

import re
from typing import Literal

from pydantic import Field

from serve_app.config.section import Section

ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What an adapter may be called, as a whole; it is also a model name and a folder name."""


class NodeSettings(Section):
    """One engine node: a base model, its batch and its context."""

    model: str = Field(description="Catalogue name or local directory of the base model.")
    engine: str = Field(
        "local",
        description="What runs the model: `local` (torch, in the replica), `fake` (scripted answers, to try a graph) "
        "or `package.module:function` of your own.",
    )
    max_rows: int = Field(16, ge=1, le=1024, description="Rows in one batch: calls answered at the same time.")
    max_context_tokens: int = Field(
        2048, ge=32, le=1_048_576, description="Prompt and answer together, in tokens; bounds the key-value cache."
    )
    max_waiting: int = Field(64, ge=0, description="Calls that may wait for a row; one more is refused with 429.")
    dtype: Literal["auto", "bfloat16", "float32", "float16"] = Field(
        "auto", description="Number type of weights and cache; `auto` times bf16 against fp32 at start-up."
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    gate_cores: int | None = Field(
        None, ge=1, description="CPU cores that the engines of this machine share: a step waits for its threads' cores."
    )
    max_tokens: int = Field(
        256, ge=1, description="Answer length where neither request nor adapter names one, in tokens."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature where nobody names one; 0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus share where nobody names one.")


class AdapterSource(Section):
    """Where an adapter comes from."""

    path: str = Field(description="A PEFT directory, or `shipped:NAME` for a specialist that comes with the package.")
    base_override: bool = Field(
        False, description="Accept an adapter made for another base, unverified; its shapes must fit all the same."
    )
