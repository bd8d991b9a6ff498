"""Holds answers against /openapi.json, strictly: no field more, none less, no error that the page does not name."""

import copy
import functools
import json
import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from serve_app.gateway.app import description
from serve_app.gateway.error_codes import ERROR_CODES

_ERROR = {"$ref": "#/components/schemas/ErrorBody"}
EVERY_PAGE = {code for code, known in ERROR_CODES.items() if known.status in (405, 431, 500)}


@functools.cache
def strict() -> dict[str, Any]:
    """The description, in which objects have no fields beside those that it names."""
    document = copy.deepcopy(description())
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return document


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The page that answers there; None where the description has none."""
    paths = strict()["paths"]
    for name in ("[^/]+", ".+"):  # names of models and documents may hold slashes
        for template in sorted(paths, key=lambda one: one.count("{")):
            if re.fullmatch(re.sub(r"\\{\w+\\}", name, re.escape(template)), path):
                found: dict[str, Any] | None = paths[template].get(method.lower())
                return found
    return None


def check(method: str, path: str, response: httpx.Response) -> None:
    """Raises AssertionError where the answer is not as the description says."""
    operation = operation_of(method, path)
    if operation is None or response.status_code == 304:
        return
    told = operation["responses"].get(str(response.status_code))
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if media_type == "text/plain":
        return
    if media_type == "text/event-stream":
        for event in response.text.split("\n\n"):
            if event and event != "data: [DONE]":
                body = json.loads(event.removeprefix("data: "))
                valid(
                    body, {"$ref": "#/components/schemas/ErrorBody"} if "error" in body else _schema(told, media_type)
                )
        return
    body = response.json()
    if "error" in body:
        code = body["error"]["code"]
        if code in EVERY_PAGE:
            return
        assert told is not None, f"{method} {path} answered {response.status_code} {code}, which it does not name"
        assert code in told["content"]["application/json"]["examples"], f"{method} {path} may not answer {code}"
    assert told is not None, f"{method} {path} answered {response.status_code}, which it does not name"
    valid(body, _schema(told, media_type))


def valid(body: Any, schema: dict[str, Any]) -> None:
    """Raises AssertionError naming the first field that is not as the schema says."""
    for error in _validator(json.dumps(schema)).iter_errors(body):
        raise AssertionError(f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}")


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema) | {"components": strict()["components"]})


def _schema(told: Any, media_type: str) -> dict[str, Any]:
    found: dict[str, Any] = told["content"][media_type]["schema"]
    return found
