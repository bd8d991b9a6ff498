"""Accounts as JSON: what a person can read in a journal, and a later version of Headrace as well.

A field that a version does not know is ignored, one that is missing takes its default.
"""

import json
from dataclasses import asdict, dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from serve_app.core import Answer, LedgerError, Opening

_Record = TypeVar("_Record")
_OPENING, _ANSWER = TypeAdapter(Opening), TypeAdapter(Answer)


@dataclass(frozen=True, slots=True)
class _Named:
    query_id: str


_NAMED = TypeAdapter(_Named)


def encode(record: Opening | Answer) -> bytes:
    """JSON in UTF-8. Numbers that are not finite are kept; half a surrogate pair becomes `?`."""
    try:
        return to_json(record, inf_nan_mode="constants")
    except PydanticSerializationError:
        return json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "replace")


def decode_opening(payload: bytes) -> Opening:
    """Raises LedgerError when it is none."""
    return _decoded(_OPENING, payload)


def decode_answer(payload: bytes) -> Answer:
    """Raises LedgerError when it is none."""
    return _decoded(_ANSWER, payload)


def decode_query_id(payload: bytes) -> str:
    """The id alone, of either record; raises LedgerError when there is none."""
    return _decoded(_NAMED, payload).query_id


def _decoded(adapter: TypeAdapter[_Record], payload: bytes) -> _Record:
    try:
        return adapter.validate_json(payload)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "record"
        raise LedgerError(f"A journal record cannot be read: {field}: {problem['msg']}.") from error
