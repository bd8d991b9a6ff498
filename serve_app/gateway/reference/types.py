"""JSON schemas in a few words, as they stand in a table."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from serve_app.gateway.schemas.shown import REF

_INT64_MIN = -(2**63)


def type_name(schema: Mapping[str, Any]) -> str:
    """What a value may be, with its bounds; objects are linked.

    >>> type_name({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]})
    'integer (1 to 9) or null'
    >>> type_name({"type": "array", "maxItems": 4, "items": {"$ref": "#/components/schemas/Usage"}})
    'list (up to 4) of [Usage](#usage)'
    """
    if "$ref" in schema:
        return link(ref_name(schema))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_name(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(literal(value) for value in schema["enum"])
    if "const" in schema:
        return literal(schema["const"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list{_bounds(schema, 'Items')} of {type_name(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"map{_bounds(schema, 'Properties')} to {type_name(values)}" if isinstance(values, dict) else "object"
    if kind == "string":
        return _string(schema)
    return f"{kind}{_range(schema)}"


def references(schema: Any) -> Iterator[str]:
    """Names of the schemas that one refers to, as they come."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield ref_name(schema)
        for part in schema.values():
            yield from references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from references(part)


def ref_name(schema: Mapping[str, Any]) -> str:
    """Whom a reference means."""
    return str(schema["$ref"]).removeprefix(REF.format(model=""))


def link(heading: str) -> str:
    """To a heading of the page."""
    return f"[{heading}](#{anchor(heading)})"


def anchor(heading: str) -> str:
    """The id that Markdown gives a heading.

    >>> anchor("`GET /v1/models/{name}`")
    'get-v1modelsname'
    """
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def literal(value: Any) -> str:
    """A value as it is written in JSON; a text without its quotes."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _string(schema: Mapping[str, Any]) -> str:
    if schema.get("format") == "binary":
        return "file"
    if schema.get("minLength") == 1 and "maxLength" not in schema:
        return "string (not empty)"
    pattern = f" like `{schema['pattern']}`" if "pattern" in schema else ""
    bounds = _bounds(schema, "Length")
    return f"string{pattern}{bounds[:-1] + ' characters)' if bounds else ''}"


def _bounds(schema: Mapping[str, Any], of: str) -> str:
    """`(1 to 16)`, from minItems and maxItems and their like."""
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    if least is not None and least == most:
        return f" ({least})"
    if most is not None:
        return f" ({least} to {most})" if least else f" (up to {most})"
    return f" (at least {least})" if least else ""


def _range(schema: Mapping[str, Any]) -> str:
    """The range of a number."""
    if schema.get("minimum") == _INT64_MIN:
        return " (64 bits)"
    above, least, most = (schema.get(name) for name in ("exclusiveMinimum", "minimum", "maximum"))
    if above is not None:
        return f" (above {above:g})" if most is None else f" (above {above:g}, to {most:g})"
    if least is not None:
        return f" (at least {_plain(least)})" if most is None else f" ({_plain(least)} to {_plain(most)})"
    return "" if most is None else f" (up to {_plain(most)})"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
