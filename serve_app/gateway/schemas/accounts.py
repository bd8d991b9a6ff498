"""What a query cost: the `headrace` object of its answer, and the pages of the ledger."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from serve_app.core import Tier
from serve_app.core.accounts import AttemptRole, CacheHit, Outcome
from serve_app.gateway.schemas.shown import Schema, at_times


class SavedBy(Schema):
    """The parts of what was saved, in US dollars; they add up to it."""

    cascade: float = Field(description="Routing and cascade: the rest.")
    cache: float = Field(description="The response cache.")
    prefix: float = Field(description="Prompt tokens that were not computed again.")
    tier: float = Field(description="The service tier; negative for `priority`.")


class AttemptUsage(Schema):
    """The tokens of one call of a node."""

    prompt_tokens: int = Field(description="Of the prompt.")
    cached_tokens: int = Field(description="Included in `prompt_tokens`: not computed again.")
    completion_tokens: int = Field(description="Of the answer.")
    busy_s: float = Field(description="Replica-seconds: the call's share of what the node worked.")


class Attempt(Schema):
    """One call of one node, and what became of it."""

    node: str = Field(description="`specialists`, `fallback`, `router`, `retriever`, or `cache`.")
    role: AttemptRole = Field(description="What the call was for.")
    model: str = Field(description="The model that was called.")
    adapter: str | None = Field(description="Its adapter; null: none.")
    adapter_version: str | None = Field(description="The version of the adapter.")
    choice_index: int = Field(description="The choice that it was made for.")
    outcome: Outcome = Field(description="`accepted`: its answer was given.")
    confidence: float | None = Field(description="What the cascade judged it by, 0 to 1; null: it was not judged.")
    usage: AttemptUsage = Field(description="Its tokens.")
    cost_usd: float = Field(description="Its price.")
    ms: float = Field(description="From dispatch to the last token, waiting included.")


class Account(Schema):
    """What answered a query, what was decided on the way, and what it cost: money in US dollars, times in ms."""

    query_id: str = Field(description="Name of the query in the ledger.")
    outcome: Outcome = Field(description="What became of the query; of an answer that was given, `accepted`.")
    route: str | None = Field(description="The router's label; null where no router was asked.")
    route_probability: float | None = Field(description="The label's probability.")
    adapter: str | None = Field(description="The adapter that answered; null: none.")
    adapter_version: str | None = Field(description="Its version.")
    model: str | None = Field(description="The model that answered.")
    tier: Tier = Field(description="The class of service.")
    cache: CacheHit | None = Field(description="How the response cache knew the answer; null: it was generated.")
    escalated: bool = Field(description="Whether it was left to the large model.")
    reason: str = Field(description="Why, in words; also what failed on the way.")
    confidence: float | None = Field(description="On what the cascade, or an ensemble's vote, decided.")
    attempts: list[Attempt] = Field(description="Every call of a node, the router's first.")
    cost_usd: float = Field(description="Sum over the attempts, drafts that were thrown away included.")
    always_large_usd: float = Field(description="What the large model alone would have cost.")
    always_large_basis: Literal["estimated", "measured"] = Field(description="`measured` where it answered.")
    saved_usd: float = Field(description="The difference; negative where escalating cost more than it saved.")
    saved_by: SavedBy = Field(description="Its parts.")
    price_version: str | None = Field(description="The prices that were used; null: not priced.")
    first_token_ms: float | None = Field(description="From admission to the first text; null: there was none.")
    ms: float = Field(description="From admission to the end.")


class Quote(Schema):
    """Words of the answer that stand in a passage. Offsets are in characters."""

    answer_start: int = Field(description="In the answer.")
    answer_end: int = Field(description="In the answer, not included.")
    start: int = Field(description="In the document's text.")
    end: int = Field(description="In the document's text, not included.")


class Citation(Schema):
    """A passage that stood before the question."""

    index: int = Field(description="Its number in the prompt, from 1.")
    document: str = Field(description="Id of the document.")
    title: str = Field(description="Of the document, with the headings above the passage.")
    collection: str = Field(description="Where the document lies.")
    source: str = Field(description="Where the document is from.")
    start: int = Field(description="First character in the document's text.")
    end: int = Field(description="Last character, not included.")
    score: float = Field(description="What the search ranked it by.")
    quotes: list[Quote] = Field(description="What the answer quotes of it word for word.")


class AnswerAccount(Account):
    """The `headrace` object of an answer: what answered, what was decided on the way, and what it cost."""

    citations: list[Citation] = at_times("The passages that the answer rests on; only where documents were searched.")


class StoredAccount(Account):
    """The account of a query, as the ledger has it."""

    created_at_s: float = Field(description="When it arrived; seconds since the epoch.")
    requested_model: str = Field(description="The name that the client asked for.")
    key_id: str | None = Field(description="Name of the key that asked; null: none.")
    gateway: str | None = Field(description="Id of the gateway that answered.")
    shadow_of: str | None = Field(description="Of a shadow: the id of the query behind it.")


class AccountList(Schema):
    """A page of accounts."""

    data: list[StoredAccount] = Field(description="Newest first.")


class Percentiles(Schema):
    """Of latencies in ms; null where there are none."""

    p50: float | None = Field(description="The median.")
    p95: float | None = Field(description="95 of 100 took no longer.")
    p99: float | None = Field(description="99 of 100 took no longer.")


class LedgerTotals(Schema):
    """Sums over queries. A share of nothing is null."""

    queries: int = Field(description="Queries that clients asked.")
    shadows: int = Field(description="Beside `queries`: runs in the background; their cost is in the sums.")
    lost: int = Field(description="Included in `queries`: their gateway died, and nobody knows what they used.")
    attempts: int = Field(description="Calls of nodes.")
    prompt_tokens: int = Field(description="Of all attempts.")
    cached_tokens: int = Field(description="Included in `prompt_tokens`.")
    completion_tokens: int = Field(description="Of all attempts.")
    cost_usd: float = Field(description="What they cost.")
    always_large_usd: float = Field(description="What the large model alone would have cost.")
    saved_usd: float = Field(description="The difference.")
    saved_share: float | None = Field(description="Of `always_large_usd`.")
    saved_by: SavedBy = Field(description="Parts of `saved_usd`.")
    cache_hits: int = Field(description="Included in `queries`: answered from the response cache.")
    cache_hit_rate: float | None = Field(description="Share of `queries`.")
    escalated: int = Field(description="Included in `queries`: left to the large model.")
    escalation_rate: float | None = Field(description="Share of `queries`.")
    busy_s: float = Field(description="Replica-seconds.")
    ms: Percentiles = Field(description="From admission to the end.")
    first_token_ms: Percentiles = Field(description="From admission to the first text.")


class LedgerGroup(LedgerTotals):
    """Sums over the queries of one group. It also has a field for each key of `group_by`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]


class AlwaysLargeBasis(Schema):
    """On what `always_large_usd` rests, in queries."""

    measured: int = Field(description="The large model answered.")
    estimated: int = Field(description="Its price on the tokens of the answer that was given.")


class LedgerStats(Schema):
    """Totals of a time range, and of each group."""

    since: float | None = Field(description="Begin, seconds since the epoch; null: of all there is.")
    until: float | None = Field(description="End, not included; null: until now.")
    totals: LedgerTotals = Field(description="Of all queries of the range that the key may see.")
    groups: list[LedgerGroup] = Field(description="Dearest first, hours in their order; empty without `group_by`.")
    price_versions: list[str | None] = Field(description="The prices that were used; null: not priced.")
    always_large_basis: AlwaysLargeBasis = Field(description="On what the comparison rests.")
    percentile_error_share: float = Field(description="How far a percentile may be off, as a share of it.")
