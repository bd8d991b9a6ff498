"""What admin keys may send to /v1/adapters, checked field by field; the first mistake names its field."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from serve_app.adapters.spec import check_name
from serve_app.core import AdapterError

MAX_SOURCE = 2048

Weight = Annotated[float, Field(ge=0, le=1)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]


def _name(name: str) -> str:
    try:
        return check_name(name)
    except AdapterError as error:
        raise PydanticCustomError("adapter_name", "{reason}", {"reason": str(error).rstrip(".")}) from error


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AddBody(_Body):
    """The body of POST /v1/adapters. With multipart/form-data the files take the place of `source`."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="What clients will ask for.")
    source: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_SOURCE,
        description="A folder on the gateway's machine, `hf://ORG/NAME[@REVISION]`, or a URI such as `s3://…`.",
    )
    base_override: bool = Field(False, description="Accept an adapter of another base whose shapes fit.")
    live: bool = Field(False, description="Answer all of the name's conversations at once.")
    canary: Weight | None = Field(None, description="Share of the name's conversations to answer, 0 to 1.")
    pin: bool = Field(False, description="Keep the adapter resident in every engine.")

    @model_validator(mode="after")
    def _one_stage(self) -> Self:
        if self.live and self.canary is not None:
            raise PydanticCustomError("canary", "a version is either live or a canary; leave one of them out")
        return self


class ChangeBody(_Body):
    """The body of PATCH /v1/adapters/{name}: exactly one change."""

    canary: Weight | None = Field(None, description="Share of the conversations that the canary answers, 0 to 1.")
    version: Version | None = Field(
        None, description="With `canary`: the staged version that becomes the canary; without one the newest."
    )
    promote: Literal[True] | Version | None = Field(
        None, description="`true`: the canary becomes live; or the version that does."
    )
    rollback: Literal[True] | Version | None = Field(
        None,
        description="`true`: the canary is withdrawn, or else the version before the live one is live again; or the "
        "version that shall go, if it has not gone yet.",
    )
    pin: bool | None = Field(None, description="Whether every engine keeps the adapter resident.")

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        wanted = [name for name in ("canary", "promote", "rollback", "pin") if getattr(self, name) is not None]
        if len(wanted) != 1:
            raise PydanticCustomError("change", "give exactly one of canary, promote, rollback and pin")
        if self.version is not None and self.canary is None:
            raise PydanticCustomError("version", "version goes with canary; name it as promote or rollback instead")
        return self
