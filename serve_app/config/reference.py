"""docs/configuration.md, written from the settings themselves so that it cannot drift."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve_app.config.settings import Settings

_HEAD = """# Configuration

One YAML file, named by the environment variable `HEADRACE_CONFIG` (a path, or the name of a packaged profile:
`demo`, `large`, `cluster`). An unknown key, a missing key or a value out of range stops the start with one sentence
that names it. This page is written by `headrace reference config`.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_section("", Settings)]) + "\n"


def _section(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """A table for one section, then its sub-sections, depth first."""
    summary = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    yield f"## {f'`{prefix}`' if prefix else 'Sections'}\n\n{summary}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        path = f"{prefix}.{name}" if prefix else name
        if inner:
            nested.append((path if inner is info.annotation else f"{path}.NAME", inner))
        kind = "section" if inner is info.annotation else _type_name(info.annotation)
        yield f"| `{path}` | {kind} | {_default(info, inner)} | {info.description} |"
    yield ""
    seen: dict[type[BaseModel], str] = {}
    for path, inner in nested:
        if inner in seen:
            yield f"## `{path}`\n\nThe same keys as `{seen[inner]}`.\n"
        else:
            seen[inner] = path
            yield from _section(path, inner)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings model in an annotation such as `X` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None


def _type_name(annotation: Any) -> str:
    name = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return (
        name.replace("typing.", "").replace("|", "\\|").replace("serve_app.config.", "").replace("pydantic.types.", "")
    )


def _default(info: FieldInfo, inner: type[BaseModel] | None) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if inner or value is None:
        return "" if value is None else "see below"
    return f"`{json.dumps(value, default=str)}`"
