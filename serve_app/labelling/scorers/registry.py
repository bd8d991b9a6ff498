"""Scorer by name: those that come with the package, and anybody's under the entry point group `headrace.scorers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve_app.core import ConfigError
from serve_app.labelling.item import Scorer
from serve_app.labelling.scorers.agreement import Agreement
from serve_app.labelling.scorers.choice import Choice
from serve_app.labelling.scorers.code import Code
from serve_app.labelling.scorers.judge import Judge
from serve_app.labelling.scorers.numeric import Numeric
from serve_app.labelling.scorers.text import Exact, Normalised, ShellTemplate
from serve_app.labelling.scorers.verdict import Verdict

GROUP = "headrace.scorers"
"""Entry points: name -> a callable that takes the options as keywords and returns a `Scorer`."""

SCORERS: Mapping[str, Callable[..., Scorer]] = {
    kind.name: kind for kind in (Exact, Normalised, Numeric, Choice, Verdict, Code, ShellTemplate, Agreement, Judge)
}
"""Those of the package. `contains` is `normalised` with that option."""


def scorer(name: str, **options: Any) -> Scorer:
    """A scorer with options; texts of a command line are converted to what each option is.

    Raises ConfigError naming the scorer, or the option that does not fit.

    >>> scorer("numeric", tolerance="0.01")
    Numeric(tolerance=0.01)
    """
    if name == "contains":
        name, options = "normalised", {"contains": True, **options}
    kind = SCORERS.get(name) or _installed(name)
    if is_dataclass(kind) and isinstance(kind, type):
        return _validated(kind, name, options)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(f"Scorer {name!r} does not take these options: {error}.") from error


def names() -> list[str]:
    """All scorers that can be asked for, installed ones included."""
    return sorted({*SCORERS, "contains", *(point.name for point in entry_points(group=GROUP))})


def _installed(name: str) -> Callable[..., Scorer]:
    for point in entry_points(group=GROUP, name=name):
        try:
            found: Callable[..., Scorer] = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"Scorer {name!r} ({point.value}) cannot be imported: {error}.") from error
        return found
    raise ConfigError(f"There is no scorer {name!r}; choose one of: {', '.join(names())}.")


def _validated(kind: type[Any], name: str, options: Mapping[str, Any]) -> Scorer:
    known = [field.name for field in fields(kind) if field.metadata.get("option", True)]
    if unknown := next((option for option in options if option not in known), None):
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise ConfigError(f"Scorer {name!r} has no option {unknown!r}; {takes}.")
    try:
        built: Scorer = TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        raise ConfigError(f"Option {where!r} of scorer {name!r}: {problem['msg']}.") from error
    return built
