"""docs/configuration.md, written from the settings themselves so that it cannot drift."""

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve_app.config.settings import Settings

_HEAD = """# Configuration

One YAML file, named by the environment variable `HEADRACE_CONFIG` (a path, or the name of a packaged profile:
`demo`, `large`, `cluster`). An unknown key, a missing key or a value out of range stops the start with one sentence
that names it. `!env NAME` in place of a
value is the text of an environment variable, for what is secret. This page is written by `headrace reference config`.
"""


def markdown() -> str:
    """The whole page."""
    return f"{_HEAD}\n{tables(Settings)}\n"


def tables(model: type[BaseModel]) -> str:
    """A table of the keys of each section."""
    return "\n".join(_section("", model))


def _section(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """A table for one section, then its sub-sections, depth first."""
    summary = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    yield f"## {f'`{prefix}`' if prefix else 'Sections'}\n\n{summary}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, info in model.model_fields.items():
        inner = _models_in(info.annotation)
        path = f"{prefix}.{name}" if prefix else name
        is_section = any(info.annotation in (one, one | None) for one in inner)
        inside = path if is_section else path + _inside(info.annotation)
        nested += [(inside, one) for one in inner]
        kind = "section" if is_section else _type_name(info.annotation)
        yield f"| `{path}` | {kind} | {_default(info, bool(inner))} | {info.description} |"
    yield ""
    seen: dict[type[BaseModel], str] = {}
    for path, one in nested:
        if one in seen:
            yield f"## `{path}`\n\nThe same keys as `{seen[one]}`.\n"
        else:
            seen[one] = path
            yield from _section(path, one)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The settings models in an annotation such as `X` or `dict[str, X | Y]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _type_name(annotation: Any) -> str:
    """A type as people write it.

    >>> _type_name(dict[str, int | None])
    'dict[str, int or None]'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if _is_list(annotation):
        return f"list[{_type_name(arguments[0])}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(_type_name(argument) for argument in arguments)}]"
    return "None" if annotation is NoneType else str(annotation.__name__)


def _is_list(annotation: Any) -> bool:
    """Whether a file has a list there: a list, or a tuple of any length."""
    origin = get_origin(annotation)
    return origin is list or (origin is tuple and get_args(annotation)[1:] == (...,))


def _inside(annotation: Any) -> str:
    """What stands between a key and the keys of its entries.

    >>> _inside(list[int]), _inside(dict[str, int]), _inside(dict[str, list[int]])
    ('[]', '.NAME', '.NAME[]')
    """
    if _is_list(annotation):
        return "[]"
    return ".NAME[]" if get_origin(annotation) is dict and _is_list(get_args(annotation)[1]) else ".NAME"


def _default(info: FieldInfo, has_own_table: bool) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if has_own_table or value is None:
        return "" if value is None else "see below"
    return f"`{json.dumps(value, default=str)}`"
