"""What tokens cost. A price is fixed per token within a price version; measured busy seconds are stored beside it."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from serve_app.config.section import Section

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Rate = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class TokenPrices(Section):
    """A price per token: what a remote API charges, or what you decided that a local model is worth."""

    input_usd_per_mtok: Usd = Field(description="US dollars per million prompt tokens that were not cached.")
    output_usd_per_mtok: Usd = Field(description="US dollars per million generated tokens.")
    cached_input_usd_per_mtok: Usd | None = Field(
        None, description="US dollars per million prompt tokens read from a cache; default: the input price."
    )


class ReplicaPrices(Section):
    """A local model: the per-token price follows from what its replica costs and how fast it is when busy."""

    replica_usd_per_hour: Usd = Field(description="US dollars that one replica costs per hour, busy or idle.")
    prefill_tokens_per_s: Rate = Field(description="Prompt tokens per second of one busy replica, over all its rows.")
    decode_tokens_per_s: Rate = Field(description="Generated tokens per second of one busy replica, over all its rows.")


def _kind(value: Any) -> str:
    """Which of the two shapes an entry means, so that an error speaks of that shape only."""
    if isinstance(value, dict):
        return "tokens" if any(str(key).endswith("_per_mtok") for key in value) else "replica"
    return "replica" if isinstance(value, ReplicaPrices) else "tokens"


ModelPrices = Annotated[
    Annotated[TokenPrices, Tag("tokens")] | Annotated[ReplicaPrices, Tag("replica")], Discriminator(_kind)
]


class PricesSettings(Section):
    """One price version. Change `version` whenever a price changes: it tells bills of different prices apart."""

    version: str = Field(min_length=1, max_length=64, description="Name of this set of prices, stored with each query.")
    models: dict[str, ModelPrices] = Field(
        min_length=1, description="Model name -> its prices; an adapter costs what its base costs."
    )
