"""The answer of /v1/status."""

from typing import Literal

from pydantic import Field

from serve_app.confidence.watch import State
from serve_app.confidence.watch.drift import Level
from serve_app.config.budgets import Window
from serve_app.core import Tier
from serve_app.gateway.schemas.shown import Schema, at_times


class Viewer(Schema):
    """Who asks."""

    role: Literal["admin", "user", "open"] = Field(description="`open`: the server has no keys.")
    key_id: str | None = Field(description="Name of the key; null where there are none.")


class CascadeStatus(Schema):
    """How the cascade is set."""

    mode: Literal["cascade", "mirror", "off", "absent"] = Field(description="`absent`: the graph has none.")
    policy: str | None = Field(description="The fitted policy; null: fixed thresholds.")
    audit_share: float = Field(description="Share of the accepted answers that the large model answers, too.")
    on_breach: str = Field(description="What happens where a target is missed.")


class SignalDrift(Schema):
    """How far a signal is from what it was when the policy was fitted."""

    signal: str = Field(description="Name of the signal.")
    level: Level = Field(description="In a word.")
    psi: float | None = Field(description="Population stability index; null: too few queries.")


class RouteAudit(Schema):
    """What audits say of a route's target. Risks are shares of accepted answers that are wrong."""

    target: float = Field(description="The risk that was promised.")
    epoch: int = Field(description="How often the threshold was tightened; all that follows is of this epoch.")
    num_audited: int = Field(description="Audits that were judged.")
    num_wrong: int = Field(description="Included in `num_audited`.")
    num_not_scored: int = Field(description="Beside `num_audited`: the scorer could not judge them.")
    num_stale: int = Field(description="Beside `num_audited`: of answers of an earlier epoch.")
    log_e_value: float = Field(description="Evidence that the risk is above the target; natural logarithm.")
    log_alarm: float = Field(description="The `log_e_value` of a breach.")
    risk_low: float = Field(description="Lower bound of the risk.")
    risk_high: float = Field(description="Upper bound of the risk.")
    drift: list[SignalDrift] = Field(description="One for each signal.")


class RouteStatus(Schema):
    """One label of the router."""

    route: str | None = Field(description="The label; null: queries that no router saw.")
    adapter: str | None = Field(description="The adapter that it gets.")
    adapter_is_served: bool = Field(description="Whether that adapter is there.")
    state: State | Literal["no_target"] = Field(description="Of its target.")
    audit: RouteAudit | None = Field(description="Null: there is no target.")


class ServedAdapter(Schema):
    """One adapter that may be asked for."""

    name: str = Field(description="What clients ask for.")
    version: str | None = Field(description="The registry's, else what one replica of the engine says.")
    is_resident: bool | None = Field(description="Whether that replica has it loaded; null: it does not answer.")
    canary: str | None = at_times("Of an adapter of the registry: the version that is tried beside it.")
    canary_weight: float = at_times("Of an adapter of the registry: its share of the conversations.")
    is_pinned: bool = at_times("Of an adapter of the registry: whether every engine keeps it resident.")


class RegistryStatus(Schema):
    """How far this gateway has followed the adapter registry."""

    revision: int | None = Field(description="Null: it was not read yet.")
    age_s: float | None = Field(description="Since it was read.")
    last_error: str | None = Field(description="Why it could not be read last; null for user keys.")


class EngineStatus(Schema):
    """One replica of an engine."""

    node: str = Field(description="Name of the node.")
    error: str | None = Field(description="Why it says nothing; null: it answers.")
    active_rows: int = at_times("Sequences that are generated now.")
    waiting_calls: int = at_times("Calls that wait for a row.")


class PriceStatus(Schema):
    """The prices that count now."""

    version: str = Field(description="Their name.")


class BudgetStatus(Schema):
    """One limit, and how far it is used."""

    name: str = Field(description="Whose it is, and over what window.")
    who: str = Field(description="Whose it is, in words.")
    per: Window = Field(description="The window.")
    warn_at: float = Field(description="Share from which answers carry a warning.")
    until: float = Field(description="End of the window; seconds since the epoch.")
    unit: Literal["usd", "tokens"] = Field(description="What is limited.")
    limit: float = Field(description="In that unit.")
    used: float = Field(description="In that unit.")
    used_share: float = Field(description="Of the limit.")


class LedgerStatus(Schema):
    """How far the accounts of this gateway are behind the database."""

    state: Literal["ok", "behind", "full"] = Field(description="`full`: what is new finds no room.")
    durability: Literal["local", "replicated"] = Field(description="As set.")
    num_pending: int = Field(description="Accounts that wait.")
    pending_bytes: int = Field(description="Their size on the disk.")
    num_unrecorded: int = Field(description="Accounts that were never written down.")
    num_unreplicated: int = Field(description="Accounts that the ledger did not acknowledge in time.")
    last_error: str | None = Field(description="Why the ledger takes none; null for user keys.")


class CacheStatus(Schema):
    """What the response cache holds. Its hits are in the ledger, too."""

    num_entries: int = Field(description="Answers.")
    num_bytes: int = Field(description="Their size.")
    max_bytes: int = Field(description="Bound of `num_bytes`.")
    exact_hits: int = Field(description="The same query.")
    semantic_hits: int = Field(description="A query that means the same.")
    misses: int = Field(description="Queries that it did not know.")


class GatewayStatus(Schema):
    """What this gateway knows that is not in the ledger."""

    version: str = Field(description="Of Headrace.")
    gateway: str = Field(description="Id of this gateway replica.")
    viewer: Viewer = Field(description="Who asks.")
    in_flight: int = Field(description="Queries that are answered now.")
    places: int = Field(description="Queries that may be answered at once now.")
    refused: dict[Tier, int] = Field(description="Tier -> queries that got no place.")
    models: dict[str, str] = Field(description="Node -> base model.")
    cascade: CascadeStatus = Field(description="How the cascade is set.")
    routes: list[RouteStatus] = Field(description="The router's labels, and their quality targets.")
    adapters: list[ServedAdapter] = Field(description="Those that the key may ask for.")
    registry: RegistryStatus | None = Field(description="Null: there is no registry.")
    engines: list[EngineStatus] = Field(description="What each engine says.")
    prices: PriceStatus = Field(description="The prices that count now.")
    budgets: list[BudgetStatus] = Field(description="A user key sees its own alone.")
    ledger: LedgerStatus = Field(description="The way of the accounts.")
    cache: CacheStatus | None = Field(description="Null: it is switched off.")
