"""The fitted file of the semantic cache: from which similarity two questions count as one, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from serve_app.confidence.stored import Stored, damaged, read_object, write_object

FORMAT = 1
_WHAT = "cache policy"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class SemanticPolicy(Stored):
    """One threshold and what is known of it. It holds for questions and stores like those of the labelled pairs."""

    format: Literal[1] = 1
    threshold: Annotated[float, Field(ge=-1, le=1)]
    """A question counts as one asked before where their cosine is above this."""
    alpha: Share
    """Target for the share of wrong answers among the hits."""
    delta: Share
    """Probability that the target is missed."""
    num_labels: Count
    """Labelled pairs that the tests used. Disjoint from design_labels."""
    design_labels: Count
    """Labelled pairs that settled where the tests begin."""
    num_hits: Count
    """Of num_labels: pairs that the threshold takes for one question."""
    num_wrong: Count
    """Included in num_hits."""
    risk_bound: Share
    """Clopper-Pearson upper bound at level delta on the risk."""
    encoder_digest: str
    """Of the encoder that made the vectors."""
    data_sha256: str
    """Of the labelled pairs, whatever their order."""
    seed: int
    headrace: str
    """Version that fitted it."""
    created: str | None = None
    """ISO 8601, UTC."""

    @property
    def hit_share(self) -> float:
        """Of num_labels."""
        return self.num_hits / self.num_labels


def write(policy: SemanticPolicy, path: Path) -> None:
    """Store; the same policy gives the same bytes. Raises DataError when it cannot."""
    write_object(policy, path, _WHAT)


def read(path: Path) -> SemanticPolicy:
    """Load and check. Raises DataError when the file is missing, damaged or of another format."""
    again = "write it again with `headrace cache fit`"
    found = read_object(path, _WHAT, FORMAT, again)
    try:
        return SemanticPolicy.model_validate(found)
    except ValidationError as error:
        raise damaged(path, error, again) from error
