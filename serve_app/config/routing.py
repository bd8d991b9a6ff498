"""The router and the table from its labels to adapters."""

from typing import Literal

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
    """Router label -> adapter. A label that is not listed uses `default`, and so does a query without a label.

    An adapter may be added to the running graph later (docs/adapters.md); until it is there, its label uses `default`.
    """

    adapters: dict[str, str] = Field(
        default_factory=dict, description="Router label -> adapter name, or `base` for no adapter."
    )
    default: str = Field("base", description="Adapter for labels not listed; `base` is the model without adapter.")

    when_router_fails: Literal["default", "fail"] = Field(
        "default",
        description="What a query gets whose router failed or took too long: an answer of the `default` adapter, as if "
        "there were no router, or the error.",
    )
    router_timeout_s: float = Field(2.0, gt=0, description="Seconds that the router may take, a second try included.")

    def adapter_for(self, label: str | None) -> str | None:
        """The adapter that answers `label`, or a query that has none; None is the bare base."""
        name = self.default if label is None else self.adapters.get(label, self.default)
        return None if name == "base" else name
