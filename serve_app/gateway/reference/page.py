"""The page: all areas with their operations and objects, then the errors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from serve_app.gateway.error_codes import ERROR_CODES
from serve_app.gateway.reference.types import anchor, link, literal, ref_name, references, type_name

_HEAD = """# HTTP reference

Every page of the gateway that programs ask, with its fields. [HTTP API](api.md) is the guide: how to ask, what comes
back, keys and budgets. This page is written by `headrace reference http` from what `/openapi.json` says.

The column *key* says who may call where the server has keys: *any* key, sent as `Authorization: Bearer KEY`, an *admin*
key, or everybody (*none* is needed). A field that a request may not have is refused, and so is a value out of its
bounds; answers may get more fields. Not in here: `GET /dashboard` and its files ([dashboard](dashboard.md)), and
`GET /openapi.json`. Both need no key.
"""
_SEE = {
    "queries": "[asking](api.md#asking)",
    "models": "[models](api.md#models)",
    "ledger": "[ledger](ledger.md)",
    "status": "[dashboard](dashboard.md)",
    "checklist": "[checklist](checklist.md)",
    "adapters": "[adapters](adapters.md), [canaries](canary.md)",
    "routing": "[routing](routing.md)",
    "documents": "[documents](rag.md)",
    "health": "[observability](observability.md)",
}
_ERRORS = """## Errors

Every error has the body `ErrorBody`. 405, 431 and 500 may come from every page, and 404 `not_found` from a path that is
none. An error that comes after a stream has begun is an event with the same object.
"""

_ERROR_OBJECTS = ("ErrorBody", "ErrorDetail")

Operation = Mapping[str, Any]


def markdown(document: Mapping[str, Any]) -> str:
    """The whole page, from an OpenAPI document whose operations have one tag each."""
    return "\n".join([*_Page(document).lines()]) + "\n"


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas = document["components"]["schemas"]
        self._areas: dict[str, list[tuple[str, Operation]]] = {tag["name"]: [] for tag in document["tags"]}
        self._about = {tag["name"]: tag["description"] for tag in document["tags"]}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                self._areas[operation["tags"][0]].append((f"{method.upper()} {path}", operation))
        self._told = {*_ERROR_OBJECTS}
        """Objects that have their section."""

    def lines(self) -> Iterator[str]:
        yield _HEAD
        yield from _table(
            ["page", "what it does", "key"],
            (
                [f"[`{name}`](#{anchor(name)})", operation["summary"], _key(operation)]
                for operations in self._areas.values()
                for name, operation in operations
            ),
        )
        for area, operations in self._areas.items():
            yield f"## {area.capitalize()}\n\n{self._about[area]} See {_SEE[area]}.\n"
            for name, operation in operations:
                yield from self._operation(name, operation)
            yield from self._objects(area, [operation for _, operation in operations])
        yield _ERRORS
        for name in _ERROR_OBJECTS:
            yield from self._object(name, level=3)
        yield from _table(
            ["status", "code", "when"],
            ([str(known.status), f"`{code}`", known.when] for code, known in ERROR_CODES.items()),
        )

    def _operation(self, name: str, operation: Operation) -> Iterator[str]:
        yield f"### `{name}`\n\n{operation['summary']}. {_one_line(operation.get('description', ''))}".rstrip() + "\n"
        yield f"Key: {_key(operation)}.\n"
        if parameters := operation.get("parameters"):
            yield from _table(
                ["parameter", "in", "type", "meaning"],
                (
                    [f"`{one['name']}`", one["in"], _asked(one["schema"], one["required"]), one["description"]]
                    for one in parameters
                ),
            )
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
            yield from self._body(media_type, body["schema"])
        answers = {status: one for status, one in operation["responses"].items() if status != "default"}
        yield from _table(["answer", "body", "meaning"], (self._answer(*one) for one in answers.items()))
        for response in operation["responses"].values():
            if headers := response.get("headers"):
                yield from _table(
                    ["header of the answer", "meaning"],
                    ([f"`{header}`", told["description"]] for header, told in headers.items()),
                )

    def _answer(self, status: str, response: Mapping[str, Any]) -> list[str]:
        """A row of the table of answers; of errors the codes tell enough."""
        content, meaning = response.get("content", {}), response["description"]
        if codes := content.get("application/json", {}).get("examples"):
            names = [name for name in references(content) if name != "ErrorBody"]
            bodies = ", ".join(["[error](#errors)", *map(link, names)])
            return [status, bodies, ", ".join(f"`{code}`" for code in codes)]
        kinds = [
            type_name(one["schema"]) + ("" if media_type == "application/json" else f" (`{media_type}`)")
            for media_type, one in content.items()
        ]
        if meaning == "Successful Response":  # what FastAPI says where nothing else is said
            meaning = self._schemas[next(references(content))]["description"]
        return [status, ", ".join(kinds), meaning]

    def _body(self, media_type: str, schema: Mapping[str, Any]) -> Iterator[str]:
        """A reference to the object, or its fields where it is used here only."""
        if "$ref" in schema:
            yield f"Body, `{media_type}`: {link(ref_name(schema))}.\n"
            return
        yield f"Or `{media_type}`, with these parts:\n"
        yield from self._fields(schema, asked=True)

    def _objects(self, area: str, operations: list[Operation]) -> Iterator[str]:
        """Those that no section before has told of, each after the one that it is a part of."""
        asked = self._reached([operation.get("requestBody", {}) for operation in operations])
        given = self._reached([operation["responses"] for operation in operations])
        if new := [name for name in [*asked, *given] if name not in self._told]:
            yield f"### Objects of {area}\n"
            for name in new:
                self._told.add(name)
                yield from self._object(name, name in asked)

    def _reached(self, parts: list[Any]) -> list[str]:
        """All schemas that these use, directly or through others."""
        found: dict[str, None] = {}

        def visit(part: Any) -> None:
            for name in references(part):
                if name not in found:
                    found[name] = None
                    visit(self._schemas[name])

        visit(parts)
        return list(found)

    def _object(self, name: str, asked: bool = False, level: int = 4) -> Iterator[str]:
        schema = self._schemas[name]
        yield f"{'#' * level} {name}\n\n{_one_line(schema['description'])}\n"
        yield from self._fields(schema, asked)

    def _fields(self, schema: Mapping[str, Any], asked: bool) -> Iterator[str]:
        """A table of an object's fields; `asked`: clients send it, so defaults matter."""
        required = schema.get("required", [])
        fields = {name: one for name, one in schema["properties"].items() if "x-support" not in one}
        if asked:
            fields = dict(sorted(fields.items(), key=lambda field: field[0] not in required))
        yield from _table(
            ["field", "type", "meaning"],
            (
                [f"`{name}`", _asked(one, name in required) if asked else type_name(one), self._meaning(one)]
                for name, one in fields.items()
            ),
        )
        yield from _beside(schema["properties"])

    def _meaning(self, schema: Mapping[str, Any]) -> str:
        """A field's description; where it says the same as the object's own, it is only there."""
        if "description" in schema or "$ref" not in schema:
            return str(schema.get("description", ""))
        return str(self._schemas[ref_name(schema)]["description"])


def _table(heads: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(_one_line(cell).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _beside(fields: Mapping[str, Any]) -> Iterator[str]:
    """The parameters of OpenAI's API that are let through, in two sentences."""
    ignored = [f"`{name}`" for name, one in fields.items() if one.get("x-support") == "ignored"]
    refused = [_refused(name, one["enum"]) for name, one in fields.items() if one.get("x-support") == "refused"]
    if ignored:
        yield f"Accepted, and without effect: {', '.join(ignored)}.\n"
    if refused:
        yield (
            "Refused with `unsupported_parameter` unless null or, where one is named, the value that asks for nothing: "
            f"{', '.join(refused)}.\n"
        )


def _refused(name: str, neutral: list[Any]) -> str:
    values = [literal(value) if value != "" else "an empty text" for value in neutral if value is not None]
    return f"`{name}` ({', '.join(values)})" if values else f"`{name}`"


def _key(operation: Operation) -> str:
    if "security" not in operation:
        return "none"
    return "admin" if "admin" in operation["security"][0]["key"] else "any"


def _asked(schema: Mapping[str, Any], required: bool) -> str:
    """The type of a field that clients send, and whether they have to."""
    default = schema.get("default")
    told = "" if default in (None, "", [], {}) else f"; default {literal(default)}"
    return type_name(schema) + ("; required" if required else told)


def _one_line(text: str) -> str:
    return " ".join(text.split())
