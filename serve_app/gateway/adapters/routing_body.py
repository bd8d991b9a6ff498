"""The body of PATCH /v1/routing."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from serve_app.adapters.spec import check_name
from serve_app.core import AdapterError


def _adapter(name: str) -> str:
    try:
        return name if name == "base" else check_name(name)
    except AdapterError as error:
        raise PydanticCustomError("adapter_name", "{reason}", {"reason": str(error).rstrip(".")}) from error


Adapter = Annotated[str, AfterValidator(_adapter)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RoutingBody(BaseModel):
    """What is left out stays as it is; null goes back to the settings. With a form, the router's files come with it."""

    model_config = ConfigDict(extra="forbid")

    routes: dict[Label, Adapter | None] | None = Field(
        None, max_length=1000, description="Label -> adapter or `base`, beside those there are; null removes a label."
    )
    default: Adapter | None = Field(None, description="Adapter of all other labels.")
    router: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Digest of a router that was in force before."
    )
    after: int | None = Field(None, ge=0, description="Refuse the change where another revision is in force by now.")
    detail: str = Field("", max_length=200, description="For the history.")
