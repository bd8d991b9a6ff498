"""What a distillation run is told: one YAML file, in which every key has a description and unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from serve_app.adapters import shipped_names
from serve_app.config.load import describe, read_mapping
from serve_app.config.section import Section
from serve_app.core import ConfigError
from serve_app.distill.gate import GateSettings
from serve_app.distill.quality import QualitySettings


class SourceSettings(Section):
    """Where the escalated queries come from."""

    log: str | None = Field(
        None,
        description="JSONL of recorded outcomes, as `headrace estimate --keep` and `headrace label` write it. Unset: "
        "the texts in the ledger of the settings.",
    )
    since: str | None = Field(None, description="From the ledger: queries that arrived since then, as `7d` or a date.")
    until: str | None = Field(None, description="From the ledger: queries that arrived before then.")
    redact: str | None = Field(
        None, description="`package.module:function`, called with each text once more before it is written."
    )
    fewest: int = Field(100, ge=1, description="Escalated queries without which a run does not begin.")


class NearSettings(Section):
    """When two queries are near: Jaccard similarity of their shingles (`distill.near`)."""

    duplicate: float = Field(0.9, gt=0, le=1, description="From here on only the newer of two queries is kept.")
    together: float = Field(
        0.6,
        gt=0,
        le=1,
        description="From here on two queries stand in one part, and none near a checked row trains.",
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.together > self.duplicate:
            raise ValueError("together must not be greater than duplicate")
        return self


class SplitSettings(Section):
    """Shares of the parts; the rest trains."""

    validation: float = Field(0.2, gt=0, lt=0.5, description="Sets the threshold where no labelled rows are given.")
    gate: float = Field(0.2, gt=0, lt=0.5, description="Compares the new version with the live one.")
    seed: int = Field(0, ge=0, description="Deals the rows out.")


class LoraSettings(Section):
    """As the options of `headrace adapters train`."""

    rank: int = Field(16, ge=1, description="Of the LoRA matrices; that of the live version where training goes on.")
    alpha: float = Field(32.0, gt=0, description="Scale is alpha / rank; the live version's where training goes on.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    epochs: float = Field(2.0, gt=0, description="Passes over the rows.")
    rows_per_step: int = Field(16, ge=1, description="Rows between two updates.")
    max_length_tokens: int = Field(1024, ge=16, description="Longest row.")
    seed: int = Field(0, ge=0, description="Of initial weights and order.")
    dtype: Literal["auto", "bfloat16", "float32"] = Field("auto", description="`auto` times both.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    checkpoint_every_steps: int = Field(20, ge=1, description="Steps that a run which is broken off may lose.")
    go_on: bool = Field(True, description="Begin with the weights of the live version, where there is one.")


class PublishSettings(Section):
    """What becomes of a version that passed the gate."""

    url: str | None = Field(
        None,
        description="Address of the running server, whose registry takes it as a canary; its admin key is in "
        "HEADRACE_ADMIN_KEY. Unset: it lies in the run's folder, for `headrace adapters add`.",
    )
    weight: float = Field(0.1, gt=0, le=1, description="Share of the conversations that the canary answers.")


class Plan(Section):
    """One adapter that learns from the escalations of its route."""

    name: str = Field(description="Of the adapter.")
    base: str = Field("smollm2-135m-instruct", description="Catalogue name or folder of the small model.")
    large: str = Field(
        "qwen2.5-coder-0.5b-instruct", description="Catalogue name or folder of the large model; it gives the samples."
    )
    live: str | None = Field(None, description="Folder or shipped name of the live version; unset: the bare base.")
    route: str | None = Field(None, description="Only queries of this route; unset: all.")
    max_tokens: int = Field(64, ge=1, description="Of an answer, when versions are compared and samples drawn.")
    scorer: str = Field(
        "agreement",
        description="Scorer of `headrace label` for rows that name none; `agreement` is with the large model.",
    )
    scorer_options: dict[str, Any] = Field(default_factory=dict, description="Of the scorer.")
    policy: str | None = Field(
        None,
        description="The cascade's policy in use, `cascade.policy` of the settings: the new version's threshold is "
        "added to it. Unset: it stands in a policy of its own.",
    )
    labelled: str | None = Field(
        None,
        description="JSONL of labelled queries drawn from all of the route's: they set the thresholds and give the "
        "figures. Unset: the validation part does, which was escalated, and is judged by the large model's answers.",
    )
    replay: str | None = Field(
        None,
        description="JSONL of queries with answers that are learnt besides, so that what the live version knows is not "
        "forgotten: its own accepted answers, or the train part of an earlier run.",
    )
    regression: str | None = Field(None, description="JSONL of queries from other domains, `group` names each row's.")
    source: SourceSettings = Field(default_factory=SourceSettings, description="The escalated queries.")
    near: NearSettings = Field(default_factory=NearSettings, description="Near-duplicates.")
    quality: QualitySettings = Field(default_factory=QualitySettings, description="Which answers are learnt.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="Parts.")
    train: LoraSettings = Field(default_factory=LoraSettings, description="Training.")
    gate: GateSettings = Field(default_factory=GateSettings, description="What the new version must show.")
    publish: PublishSettings = Field(default_factory=PublishSettings, description="Where it goes.")


def read_plan(path: Path) -> Plan:
    """Read and check a plan; its relative paths are of its own folder. Raises ConfigError naming the key at fault."""
    raw = read_mapping(path, "permissions", "a mapping with at least `name`; see docs/distillation.md")
    try:
        plan = Plan.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    folder = path.resolve().parent
    files = {name: _beside(folder, getattr(plan, name)) for name in ("labelled", "regression", "replay", "policy")}
    if plan.live is not None and plan.live not in shipped_names():
        files["live"] = _beside(folder, plan.live)
    source = plan.source.model_copy(update={"log": _beside(folder, plan.source.log)})
    return plan.model_copy(update={**files, "source": source})


def _beside(folder: Path, file: str | None) -> str | None:
    return None if file is None else str(folder / Path(file).expanduser())
