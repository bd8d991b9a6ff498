"""What /openapi.json says beyond what FastAPI sees: bodies that the gateway reads itself, keys, summaries.

The gateway reads bodies itself to bound their size and to word errors; what it answers is sent as it is.
"""

import threading
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse

from serve_app.gateway.adapters.bodies import AddBody, ChangeBody
from serve_app.gateway.adapters.routing_body import RoutingBody
from serve_app.gateway.documents.bodies import IngestBody
from serve_app.gateway.error_codes import ErrorBody
from serve_app.gateway.requests import ChatBody, TextBody
from serve_app.gateway.schemas.answers import ChatCompletionChunk, TextCompletionChunk
from serve_app.gateway.schemas.documents import RefusedIngest
from serve_app.gateway.schemas.shown import REF, ref

_SCHEMAS: tuple[tuple[type[BaseModel], JsonSchemaMode], ...] = (
    (ChatBody, "validation"),
    (TextBody, "validation"),
    (AddBody, "validation"),
    (ChangeBody, "validation"),
    (RoutingBody, "validation"),
    (IngestBody, "validation"),
    (ChatCompletionChunk, "serialization"),
    (TextCompletionChunk, "serialization"),
    (ErrorBody, "serialization"),
    (RefusedIngest, "serialization"),
)
"""Those that routes name by `ref`: FastAPI does not see them."""
_MAKING = threading.Lock()

TAGS = [
    {"name": "queries", "description": "Ask the models, as with OpenAI's API."},
    {"name": "models", "description": "The names that `model` may have."},
    {"name": "ledger", "description": "What queries cost. A user key sees the accounts of its own queries."},
    {"name": "status", "description": "What serves now; the dashboard shows it."},
    {"name": "checklist", "description": "Whether this server is ready for production."},
    {"name": "adapters", "description": "Adapters that come and go."},
    {"name": "routing", "description": "Which router answers, and which adapter each of its labels gets."},
    {"name": "documents", "description": "Documents that the model `rag` answers from."},
    {"name": "health", "description": "For machines; no key is needed."},
]
"""The areas, in the order in which they are told."""

_KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of this server; `admin` stands for an admin key. A server without keys asks for none.",
}


def body_of(body_class: type[BaseModel], form: dict[str, Any] | None = None) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes this body, or a form of this schema in its place."""
    content = {"application/json": {"schema": ref(body_class)}}
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def form_schema(
    fields_of: type[BaseModel],
    files: str,
    max_files: int,
    required: Collection[str] = (),
    without: Collection[str] = (),
) -> dict[str, Any]:
    """The schema of a form: files, and the fields of a model as texts. `files`: what they are."""
    fields = {
        name: {"type": "string", "description": info.description}
        for name, info in fields_of.model_fields.items()
        if name not in without
    }
    described = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "maxItems": max_files,
        "description": files,
    }
    return {"type": "object", "properties": {"files": described, **fields}, "required": ["files", *required]}


class DescribedApp(FastAPI):
    """A FastAPI app that describes itself whole. The description is made when it is first asked for, in a thread."""

    def setup(self) -> None:
        """Adds /openapi.json in the place of FastAPI's, which would hold up queries while the description is made."""

        def described(request: Request) -> JSONResponse:  # no coroutine: Starlette runs it in a thread
            root_path = request.scope.get("root_path", "").rstrip("/")
            servers = {"servers": [{"url": root_path}]} if root_path else {}
            return JSONResponse({**self.openapi(), **servers})

        self.add_route("/openapi.json", described, include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """The content of /openapi.json."""
        with _MAKING:
            if self.openapi_schema is None:
                described = super().openapi()
                _, schemas = models_json_schema(_SCHEMAS, ref_template=REF)
                components = described.setdefault("components", {})
                components.setdefault("schemas", {}).update(schemas["$defs"])
                components["securitySchemes"] = {"key": _KEY_SCHEME}
                for path in described["paths"].values():
                    for operation in path.values():
                        _summarise(operation)
                        _secure(operation)
            return super().openapi()


def _summarise(operation: dict[str, Any]) -> None:
    """The first line of a route's docstring is its summary, the rest its description."""
    first, _, rest = operation.pop("description", "").partition("\n")
    operation["summary"] = first.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()


def _secure(operation: dict[str, Any]) -> None:
    """A page that may answer 401 needs a key, and one that may ask for an admin key needs that."""
    responses = operation["responses"]
    if "401" in responses:
        codes = responses.get("403", {}).get("content", {}).get("application/json", {}).get("examples", {})
        operation["security"] = [{"key": ["admin"] if "admin_key_needed" in codes else []}]
