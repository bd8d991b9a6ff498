"""What tokens, calls and replicas cost. A price holds within a price version; measured busy seconds are stored too."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from serve_app.config.pricelist import ListedPrices, listed
from serve_app.config.section import Section

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Rate = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
Deployment = Literal["gateway", "router", "retriever", "specialists", "fallback", "ledger"]


def _utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_utc)]


class CallPrices(Section):
    """A price per call, whatever its length."""

    usd_per_call: Usd = Field(description="US dollars per call; one that failed before it used anything is free.")


class _PerCallToo(Section):
    """What every other kind of price may have beside its own figures."""

    usd_per_call: Usd = Field(Decimal(0), description="US dollars per call, beside the other figures.")


class TokenPrices(_PerCallToo):
    """A price per token: what a remote API charges, or what you decided that a local model is worth."""

    input_usd_per_mtok: Usd = Field(description="US dollars per million prompt tokens that were not cached.")
    output_usd_per_mtok: Usd = Field(description="US dollars per million generated tokens.")
    cached_input_usd_per_mtok: Usd | None = Field(
        None, description="US dollars per million prompt tokens read from a cache; default: the input price."
    )


class ListPrices(_PerCallToo):
    """A provider's list price, from the snapshot in the installed `genai-prices`; a figure given here counts instead.

    The figures are those of the day on which the version takes effect, of today where it has no such day.
    """

    list: str = Field(
        pattern=r"^[^/\s]+/\S+$", description="`provider/model` as genai-prices knows it, as in `openai/gpt-4o`."
    )
    input_usd_per_mtok: Usd | None = Field(None, description="Counts instead of the listed figure.")
    output_usd_per_mtok: Usd | None = Field(None, description="Counts instead of the listed figure.")
    cached_input_usd_per_mtok: Usd | None = Field(None, description="Counts instead of the listed figure.")

    @model_validator(mode="after")
    def _is_listed(self) -> Self:
        listed(self.list, datetime.now(UTC))
        return self

    def figures(self, at: datetime) -> ListedPrices:
        """The list's figures at that time. Raises ValueError when they depend on more than tokens and day."""
        return listed(self.list, at)


class ReplicaPrices(_PerCallToo):
    """A local model: the per-token price follows from what its replica costs and how fast it is when busy."""

    replica_usd_per_hour: Usd = Field(description="US dollars that one replica costs per hour, busy or idle.")
    prefill_tokens_per_s: Rate = Field(description="Prompt tokens per second of one busy replica, over all its rows.")
    decode_tokens_per_s: Rate = Field(description="Generated tokens per second of one busy replica, over all its rows.")
    cached_tokens_per_s: Rate | None = Field(
        None,
        description="Speed at which cached prompt tokens are charged; default: `prefill_tokens_per_s`, so that the "
        "price of a query does not depend on what was in the cache.",
    )


class DevicePrices(_PerCallToo):
    """A local model by the second: measured busy time of its share of a GPU or of cores. Equal queries may differ."""

    device_usd_per_hour: Usd = Field(description="US dollars that the whole device costs per hour.")
    fraction: Rate = Field(Decimal(1), description="Share of the device, or number of devices, that one replica has.")
    prefill_tokens_per_s: Rate = Field(
        description="Prompt tokens per second of one busy replica: prices what no busy time was measured for, such as "
        "estimates and reservations."
    )
    decode_tokens_per_s: Rate = Field(description="Generated tokens per second of one busy replica, for the same.")


_SECTIONS: dict[type, str] = {
    CallPrices: "call",
    TokenPrices: "tokens",
    ListPrices: "list",
    ReplicaPrices: "replica",
    DevicePrices: "device",
}


def _kind(value: Any) -> str:
    """Which of the shapes an entry means, so that an error speaks of that shape only."""
    if not isinstance(value, dict):
        return _SECTIONS.get(type(value), "tokens")
    if "list" in value:
        return "list"
    if any(str(key).endswith("_per_mtok") for key in value):
        return "tokens"
    if "device_usd_per_hour" in value:
        return "device"
    return "call" if set(value) == {"usd_per_call"} else "replica"


ModelPrices = Annotated[
    Annotated[TokenPrices, Tag("tokens")]
    | Annotated[ReplicaPrices, Tag("replica")]
    | Annotated[DevicePrices, Tag("device")]
    | Annotated[CallPrices, Tag("call")]
    | Annotated[ListPrices, Tag("list")],
    Discriminator(_kind),
]

Version = Annotated[str, Field(min_length=1, max_length=64)]
FlexFactor = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]
PriorityFactor = Annotated[Decimal, Field(ge=1, le=1000, allow_inf_nan=False)]


class PriceChange(Section):
    """A later price version. What it does not name stays as it was."""

    version: Version = Field(description="Name of this set of prices, stored with each query.")
    effective_from: Moment = Field(
        description="Queries that arrive from this time on are billed at it; without a zone it is UTC."
    )
    models: dict[str, ModelPrices] = Field(
        default_factory=dict, description="Model name -> its prices, each entry as a whole."
    )
    flex_factor: FlexFactor | None = Field(None, description="As in `prices`.")
    priority_factor: PriorityFactor | None = Field(None, description="As in `prices`.")
    replica_usd_per_hour: dict[Deployment, Usd] = Field(default_factory=dict, description="As in `prices`.")


class PricesSettings(Section):
    """One price version and the changes to come. Change `version` whenever a price changes: bills are told apart by it.

    A change that is announced under `changes` takes effect by itself.
    """

    version: Version = Field(description="Name of this set of prices, stored with each query.")
    models: dict[str, ModelPrices] = Field(
        min_length=1,
        description="Model name -> its prices; an adapter costs what its base costs. The router's encoder costs "
        "nothing unless it has an entry, and the same holds for what finds passages.",
    )
    flex_factor: FlexFactor = Field(
        Decimal("0.5"), description="Price of the tier `flex`, which takes idle capacity only, as a share of the price."
    )
    priority_factor: PriorityFactor = Field(
        Decimal(1),
        description="Price of the tier `priority`, which goes first, as a multiple of the price; 1 charges nothing for "
        "going first.",
    )
    replica_usd_per_hour: dict[Deployment, Usd] = Field(
        default_factory=dict,
        description="Deployment -> US dollars per hour of one replica, for `headrace ledger bill`. Unset for "
        "specialists and fallback: what their model's entry says.",
    )
    changes: list[PriceChange] = Field(
        default_factory=list, description="Later versions, the earliest first; several may lie in the past."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = [self.version, *(change.version for change in self.changes)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"version {name!r} is given twice; a version has one set of prices")
        for earlier, later in zip(self.changes, self.changes[1:], strict=False):
            if later.effective_from <= earlier.effective_from:
                raise ValueError(
                    f"changes: {later.version!r} takes effect at {later.effective_from.isoformat()}, not after "
                    f"{earlier.version!r}; write them in order"
                )
        return self
