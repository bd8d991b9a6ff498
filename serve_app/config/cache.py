"""Answers given before, given again."""

from pydantic import Field

from serve_app.config.section import Section


class SemanticSettings(Section):
    """Answers to questions that mean the same. A wrong match is a wrong answer, so keys have to ask for it."""

    policy: str | None = Field(
        None,
        description="File written by `headrace cache fit`: the similarity from which two questions count as one, with "
        "the risk that was kept. Unset: there is no semantic cache.",
    )
    keys: list[str] = Field(
        default_factory=list,
        description="Names of the keys whose queries use it. Keys made with `headrace keys create --semantic-cache` "
        "need no entry.",
    )
    max_entries: int = Field(20_000, ge=1, description="Questions remembered per gateway; the oldest go first.")


class CacheSettings(Section):
    """In the memory of each gateway: nothing of a prompt or an answer is written to disk.

    Only greedy queries are looked up. An entry counts while models, adapter versions and cascade stay what they were.
    """

    enabled: bool = Field(False, description="Whether an equal query gets the answer that was given before.")
    max_mb: int = Field(64, ge=1, description="Bound on the answers that a gateway holds, in MiB.")
    ttl_s: float = Field(3600, gt=0, description="Seconds for which an answer counts.")
    semantic: SemanticSettings = Field(default_factory=SemanticSettings, description="Questions that mean the same.")
