"""A log of answers to be labelled: what a row has, and how it becomes items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from serve_app.core import DataError
from serve_app.labelling.item import Item
from serve_app.labelling.lines import Line, parse_object, read_lines

TEXT_FIELDS = ("question", "small_answer", "large_answer", "reference", "choices", "tests", "setup")
"""What holds somebody's words; the rest of a labelled row is numbers and names."""


def _as_text(value: Any) -> Any:
    """A number is its text (18 of 18.0, and no digit cut off), several references are a line each."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return format(value, ".15g") if isinstance(value, float) else str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return value


class LogRow(BaseModel):
    """One question and what both models answered. Other fields are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = Field(min_length=1)
    """Unique in the file."""
    question: str = ""
    small_answer: str
    large_answer: str | None = None
    """None: the large model was not asked."""
    reference: Annotated[str | None, BeforeValidator(_as_text)] = None
    """A text, a number, yes or no as true and false, or a list of acceptable texts."""
    choices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    setup: str = ""

    def item(self, answer: str) -> Item:
        """One of the two answers, to be scored."""
        return Item(self.question, answer, self.reference, self.choices, self.tests, self.setup, self.large_answer)


def read_log(path: Path) -> list[tuple[Line, LogRow]]:
    """All rows with their lines. Raises DataError naming file, line and field."""
    found: list[tuple[Line, LogRow]] = []
    lines_of_ids: dict[str, int] = {}
    for line in read_lines(path):
        row = _row(line, path)
        if row.id in lines_of_ids:
            first = lines_of_ids[row.id]
            raise DataError(f"{path}:{line.number}: id: {row.id!r} is that of line {first}; give each row its own.")
        lines_of_ids[row.id] = line.number
        found.append((line, row))
    return found


def _row(line: Line, path: Path) -> LogRow:
    try:
        return LogRow.model_validate(parse_object(line, path))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(step) for step in problem["loc"])
        raise DataError(f"{path}:{line.number}: {field}: {problem['msg']}.") from error
