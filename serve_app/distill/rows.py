"""The rows that go from stage to stage: a conversation, the large model's answer, and what it can be checked by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.core import DataError, Message
from serve_app.core.files import write_whole
from serve_app.labelling.item import Item
from serve_app.labelling.lines import Line, parse_object, read_lines
from serve_app.training.cascade.outcomes import TokenCounts


class ExampleRow(BaseModel):
    """One query. `question` is accepted in place of `messages`, for a single turn of the user."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1)
    """Unique in the file."""
    messages: tuple[Message, ...] = Field(min_length=1)
    """As the client sent them; the last is the user's."""
    answer: str | None = None
    """The large model's; None: it was not asked."""
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Set by the quality rule; None: it could not tell, or has not been asked."""
    group: str = "all"
    """What is reported apart: the domain, in a regression set."""
    scorer: str | None = None
    """Name in `headrace label`; None: the plan's."""
    reference: str | None = None
    choices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    setup: str = ""
    route: str | None = None
    adapter: str | None = None
    """That answered, or drafted, when the row was captured."""
    adapter_version: str | None = None
    key_id: str | None = None
    created_at_s: float = 0.0
    """Seconds since the epoch at which the query arrived."""
    large_usage: TokenCounts | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_question(cls, row: Any) -> Any:
        if isinstance(row, dict) and "question" in row and "messages" not in row:
            row = {**row, "messages": [{"role": "user", "content": row["question"]}]}
            del row["question"]
        return row

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> ExampleRow:
        if self.messages[-1].role != "user":
            raise ValueError("the last of messages must be the user's")
        return self

    @property
    def question(self) -> str:
        """The user's last turn."""
        return self.messages[-1].content

    @property
    def text(self) -> str:
        """What near-duplicates are judged by: all turns but the system's."""
        return "\n".join(turn.content for turn in self.messages if turn.role != "system")

    def item(self, answer: str) -> Item:
        """An answer to it, to be scored."""
        return Item(self.question, answer, self.reference, self.choices, self.tests, self.setup, self.answer)


def read_examples(path: Path) -> list[ExampleRow]:
    """All rows in order. Raises DataError naming file, line and field on the first bad one, or a repeated id."""
    found: list[ExampleRow] = []
    lines_of_ids: dict[str, int] = {}
    for line in read_lines(path):
        row = parse_example(parse_object(line, path), f"{path}:{line.number}")
        if row.id in lines_of_ids:
            first = lines_of_ids[row.id]
            raise DataError(f"{path}:{line.number}: id: {row.id!r} is that of line {first}; give each row its own.")
        lines_of_ids[row.id] = line.number
        found.append(row)
    return found


def read_examples_or_none(path: Path) -> list[ExampleRow]:
    """As `read_examples`; an empty file is a part with no rows."""
    return read_examples(path) if path.stat().st_size else []


def parse_example(fields: dict[str, Any], where: str) -> ExampleRow:
    """Raises DataError that begins with `where` and names the field."""
    try:
        return ExampleRow.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(step) for step in problem["loc"]) or "row"
        raise DataError(f"{where}: {field}: {problem['msg']}.") from error


def write_examples(rows: Iterable[ExampleRow], path: Path) -> None:
    """One row a line, whole or not at all; equal rows give equal bytes."""
    write_lines((row.model_dump(mode="json", exclude_defaults=True) for row in rows), path)


def write_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """One JSON object a line, whole or not at all, for its owner alone: these are people's texts."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), private=True)


def objects(path: Path) -> list[tuple[Line, dict[str, Any]]]:
    """The lines of a file as JSON objects. Raises DataError naming file and line."""
    return [(line, parse_object(line, path)) for line in read_lines(path)]
