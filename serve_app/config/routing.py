"""The router and the table from its labels to adapters."""

from pydantic import Field

from serve_app.config.section import Section


class RouterSettings(Section):
    """Which classifier names the domain of a query."""

    encoder: str = Field("all-minilm-l6-v2", description="Catalogue name or directory of the sentence encoder.")
    artifact: str = Field("shipped", description="`shipped`, or the directory that `headrace router train` wrote.")
    gain: str | None = Field(
        None,
        description="Directory that `headrace router gain-train` wrote: the pre-router, which estimates from the query "
        "alone what the large model would gain (`cascade.skip_small_above`, `keep_small_below`). Unset: none.",
    )
    floor: float | None = Field(
        None, ge=0, le=1, description="Below this probability the label is `general`; unset: the artifact's own."
    )


class RoutesSettings(Section):
    """Router label -> adapter. A label that is not listed uses `default`."""

    adapters: dict[str, str] = Field(
        default_factory=dict, description="Router label -> adapter name, or `base` for no adapter."
    )
    default: str = Field("base", description="Adapter for labels not listed; `base` is the model without adapter.")

    def adapter_for(self, label: str) -> str | None:
        """The adapter that answers `label`; None is the bare base."""
        name = self.adapters.get(label, self.default)
        return None if name == "base" else name
