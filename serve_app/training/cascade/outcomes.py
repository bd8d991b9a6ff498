"""Labelled logs: what the small model answered, how sure it was, whether that was acceptable. JSONL, plain or .gz."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.confidence.evidence import Evidence
from serve_app.core import DataError, RouteScore, TokenStat
from serve_app.labelling.lines import read_lines
from serve_app.labelling.log import TEXT_FIELDS

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
TokenNumber = Annotated[float, Field(allow_inf_nan=True)]
"""A broken model may give NaN; its answers are part of the log."""

_FROM_ESTIMATE = (
    "missing; a fit learns from the tokens' statistics, and `headrace estimate --keep` writes rows that have them, "
    "with the models loaded here (no --url)"
)
_IF_MISSING = {
    **dict.fromkeys(("prompt_tokens", "tokens", "small_usage"), _FROM_ESTIMATE),
    "small_right": "missing; `headrace label` adds it",
}
"""Field -> where it comes from."""
_NOT_LABELLED = ("sample_agreement", "passage_score")
"""Features that no command writes into labelled rows: a model would learn from neutral values, and be asked others."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class TokenCounts(_Row):
    """Tokens of one answer."""

    prompt_tokens: Count
    completion_tokens: Count
    """Disjoint from prompt_tokens."""


class LabelledAttempt(_Row):
    """One query, the small model's whole answer to it, and the judgement. Texts of a labelled log are left aside."""

    id: str = Field(min_length=1)
    """Unique in the file. Rows are dealt to model and threshold by it."""
    route: str | None = None
    """The router's label; None: no router saw the query."""
    route_probability: Share | None = None
    route_margin: Share | None = None
    """The best label's probability minus the second's."""
    gain: Share | None = None
    """The pre-router's P(large right and small wrong), from a pre-router that was not trained on this row."""
    adapter_version: str | None = None
    """Of the adapter that answered; None: the bare base."""
    prompt_tokens: Count
    tokens: tuple[tuple[TokenNumber, TokenNumber, TokenNumber, int], ...]
    """Log-probability, entropy, top-2 margin and id of each generated token, as in `TokenStat`."""
    small_right: Share
    """Score of the small answer."""
    large_right: Share | None = None
    """Score of the large answer; None: the large model was not asked."""
    small_usage: TokenCounts
    large_usage: TokenCounts | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_texts(cls, row: Any) -> Any:
        return {name: row[name] for name in row if name not in TEXT_FIELDS} if isinstance(row, dict) else row

    def evidence(self, num_tokens: int | None = None) -> Evidence:
        """What a rule saw after the first `num_tokens`, or None: when the answer had ended."""
        seen = self.tokens if num_tokens is None else self.tokens[:num_tokens]
        stats = tuple(TokenStat(token_id, "", logprob, entropy, margin) for logprob, entropy, margin, token_id in seen)
        return Evidence(stats, num_tokens is None, self.route_score, self.prompt_tokens)

    @property
    def route_score(self) -> RouteScore | None:
        """The router's view with the two best probabilities; None where no router saw the query."""
        if self.route is None:
            return None
        best = 1.0 if self.route_probability is None else self.route_probability
        second = max(best - self.route_margin, 0.0) if self.route_margin is not None else 0.0
        return RouteScore(self.route, best, {"best": best, "second": second}, self.gain)


def read_attempts(path: Path) -> list[LabelledAttempt]:
    """All rows in order. Raises DataError naming file, line and field on the first bad one, or where there are none."""
    found: list[LabelledAttempt] = []
    lines_of_ids: dict[str, int] = {}
    for line in read_lines(path, "labelled attempt"):
        where = f"{path}:{line.number}"
        attempt = _parse(line.data, where)
        if attempt.id in lines_of_ids:
            raise DataError(
                f"{where}: id {attempt.id!r} is that of line {lines_of_ids[attempt.id]}; give each row its own."
            )
        lines_of_ids[attempt.id] = line.number
        found.append(attempt)
    return found


def write_attempts(attempts: Iterable[LabelledAttempt], path: Path) -> None:
    """One row a line; compressed where the name ends in .gz, with no time in it: equal rows give equal bytes."""
    text = "".join(attempt.model_dump_json(exclude_none=True) + "\n" for attempt in attempts)
    data = text.encode("utf-8")
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _parse(line: bytes, source: str) -> LabelledAttempt:
    try:
        return LabelledAttempt.model_validate_json(line)
    except ValidationError as error:
        first: Any = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{source}: {field or 'row'}: {_why(field, first)}.") from error


def _why(field: str, problem: Any) -> str:
    if problem["type"] == "missing":
        return _IF_MISSING.get(field, str(problem["msg"]))
    if field in _NOT_LABELLED:
        return "nothing is fitted on this yet, since no command writes it into labelled rows; leave it out of all rows"
    return str(problem["msg"])
