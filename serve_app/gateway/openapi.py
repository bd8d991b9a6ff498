"""Puts the request bodies into /openapi.json. The gateway reads them itself, to bound their size and word errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serve_app.gateway.requests import ChatBody, TextBody

_REF = "#/components/schemas/{model}"


def body_of(body_class: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes this body."""
    schema = {"$ref": _REF.format(model=body_class.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


class DescribedApp(FastAPI):
    """A FastAPI app whose description, made when it is first asked for, holds the schemas that `body_of` points at."""

    def openapi(self) -> dict[str, Any]:
        """The content of /openapi.json."""
        if self.openapi_schema is None:
            described = super().openapi()
            _, bodies = models_json_schema([(ChatBody, "validation"), (TextBody, "validation")], ref_template=_REF)
            described.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
        return super().openapi()
