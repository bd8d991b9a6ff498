"""Answers of /v1/models, /v1/checklist, /healthz and /readyz."""

from typing import Literal

from pydantic import Field

from serve_app.gateway.schemas.shown import Schema, at_times


class Canary(Schema):
    """The version that is tried beside the live one."""

    version: str = Field(description="Its version.")
    weight: float = Field(description="Share of the conversations that it answers, 0 to 1.")


class ModelKind(Schema):
    """What stands behind a name."""

    kind: Literal["graph", "base", "large", "adapter"] = Field(description="`graph`: several nodes work together.")
    model: str | None = Field(description="The model that answers; null where the graph decides.")
    version: str | None = at_times("Of an adapter of the registry: the version that the name stands for.")
    canary: Canary | None = at_times("Of an adapter of the registry: what is tried beside it; null: nothing.")


class Model(Schema):
    """One name that may be asked for."""

    id: str = Field(description="What `model` says in a request.")
    object: Literal["model"] = Field(description="What this is.")
    created: int = Field(description="When this gateway started; seconds since the epoch.")
    owned_by: Literal["headrace"] = Field(description="Always the same.")
    headrace: ModelKind = Field(description="What stands behind it.")


class ModelList(Schema):
    """The names that the key may ask for."""

    object: Literal["list"] = Field(description="What this is.")
    data: list[Model] = Field(description="In a fixed order.")


class ChecklistItem(Schema):
    """One line of the checklist."""

    id: str = Field(description="`area.name`; stable between versions.")
    area: str = Field(description="What it is about, such as `security`.")
    title: str = Field(description="What should hold.")
    status: Literal["pass", "warn", "fail", "not_applicable"] = Field(
        description="`warn`: it works, and should be better before others depend on it."
    )
    evidence: str = Field(description="What was seen, with its figures.")
    fix: str = Field(description="What mends it; empty where nothing is to mend.")


class ChecklistRun(Schema):
    """The checklist, run on this server."""

    profile: Literal["demo", "production"] = Field(description="What was asked for.")
    counts: dict[str, int] = Field(description="Items by their status.")
    items: list[ChecklistItem] = Field(description="All of them.")


class Health(Schema):
    """A sign of life."""

    status: Literal["ok"] = Field(description="The process answers.")


class ReadyJournal(Schema):
    """Where accounts stand that the ledger does not have yet."""

    state: Literal["ok", "behind", "full"] = Field(description="`full`: what is new finds no room.")
    refuses: bool = Field(description="Whether new queries get 503 therefore.")
    pending_accounts: int = Field(description="Accounts that wait.")
    pending_bytes: int = Field(description="Their size on the disk.")
    detail: str = Field(description="The same in words.")


class ReadyKeys(Schema):
    """Where the stored API keys are from."""

    state: Literal["ok", "copy"] = Field(description="`copy`: from this node's disk, for the database is away.")
    age_s: int = at_times("Of the copy.")


class Readiness(Schema):
    """Whether queries can be answered and accounted."""

    status: Literal["ready", "degraded", "not ready"] = Field(description="`degraded` comes with 200, too.")
    nodes: dict[str, str] = Field(description="Node -> `ok`, `cold` (stopped on purpose), or why it is not.")
    journal: ReadyJournal = Field(description="Where accounts stand.")
    keys: ReadyKeys = Field(description="Where the API keys are from.")
