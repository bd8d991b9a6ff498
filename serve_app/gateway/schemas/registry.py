"""Answers of /v1/adapters and /v1/routing."""

from typing import Any, Literal

from pydantic import Field

from serve_app.adapters.registry.records import VersionState
from serve_app.canary.rule import Decision, Subject
from serve_app.config.canary import Automatic
from serve_app.gateway.schemas.shown import Schema


class VersionInShort(Schema):
    """One version, in the list of its adapter."""

    version: str = Field(description="First 12 hex digits of its digest.")
    state: VersionState = Field(description="Engines hold staged, canary and live ones; queries go to the last two.")
    source: str = Field(description="Where its files came from.")


class Adapter(Schema):
    """One name: what answers for it, and all its versions."""

    object: Literal["adapter"] = Field(description="What this is.")
    name: str = Field(description="What clients ask for.")
    live: str | None = Field(description="The version that the name stands for; null: nobody may ask for it.")
    canary: str | None = Field(description="The version that is tried beside it.")
    canary_weight: float = Field(description="Share of the conversations that the canary answers, 0 to 1.")
    pinned: bool = Field(description="Whether every engine keeps it resident.")
    revision: int = Field(description="Of the registry; rises by one with every change.")
    versions: list[VersionInShort] = Field(description="Newest first.")


class AdapterList(Schema):
    """All adapters of the registry."""

    object: Literal["list"] = Field(description="What this is.")
    revision: int = Field(description="Of the registry; rises by one with every change.")
    data: list[Adapter] = Field(description="By name.")


class Finding(Schema):
    """What the evidence says of one subject."""

    subject: Subject = Field(description="What was compared.")
    num_pairs: int = Field(description="Pairs of neighbouring queries, one of each version.")
    estimate: float | None = Field(
        description="Canary minus live, of scores or shares of failures; of cost and latency canary over live. Null: "
        "no pair."
    )
    allowed: float = Field(description="The worst `estimate` that is allowed.")
    log_worse: float = Field(description="Evidence that it is worse than allowed; natural logarithm of an e-value.")
    log_worse_needed: float = Field(description="At which it counts as sure.")
    is_worse: bool = Field(description="Surely worse than allowed.")
    looks_worse: bool = Field(description="The estimate alone is worse than allowed.")


class ArmTotals(Schema):
    """The queries of one version that have a neighbour."""

    num_queries: int = Field(description="All of them.")
    num_failed: int = Field(description="Included in `num_queries`.")
    num_answered: int = Field(description="Included in `num_queries`: those behind the next two.")
    cost_nusd: int = Field(description="What they cost; nano-dollars.")
    ms: float = Field(description="Their latencies together.")


class Arms(Schema):
    """The two versions that are compared."""

    canary: ArmTotals = Field(description="Of the canary.")
    live: ArmTotals = Field(description="Of the live version.")


class Verdict(Schema):
    """What the rule says of a trial."""

    decision: Decision | None = Field(description="Null: more evidence is needed.")
    reasons: list[str] = Field(description="Why, or what a promotion still waits for.")
    findings: list[Finding] = Field(description="One for each subject.")
    quality_bounds: list[float] = Field(description="Lower and upper bound of the mean difference of scores.")
    log_as_good: float = Field(description="Evidence that it is not worse by the margin; logarithm of an e-value.")
    log_as_good_needed: float = Field(description="At which it counts as sure.")
    agreement: float | None = Field(
        description="How alike both versions' answers are where there is no large model to compare with."
    )
    queries: Arms = Field(description="What was asked of both.")


class CanaryTrial(Schema):
    """One canary, from its begin to its end."""

    canary: str = Field(description="Its version.")
    live: str = Field(description="The version that it is compared with.")
    began_at_s: float = Field(description="Seconds since the epoch.")
    ended_at_s: float | None = Field(description="Seconds since the epoch; null: it runs.")
    ended_by: str | None = Field(description="`promote` or `rollback` by the rule, or `others`; null: it runs.")
    verdict: Verdict = Field(description="What the rule says now, or said at the end.")


class CanaryTrialList(Schema):
    """What the rule says of an adapter's canaries."""

    automatic: Automatic = Field(description="What the rule does without being asked.")
    running: CanaryTrial | None = Field(description="Null: there is no canary.")
    earlier: list[CanaryTrial] = Field(description="The last five that ended, newest first.")


class AdapterWithTrials(Adapter):
    """One adapter, and what the rule says of its canary."""

    canary_trials: CanaryTrialList = Field(description="The trial that runs, and those before it.")


class RetiredAdapter(Adapter):
    """One adapter whose versions are all retired."""

    deleted: Literal[True] = Field(description="It is done.")


class AdapterVersion(Schema):
    """One version, whole."""

    object: Literal["adapter.version"] = Field(description="What this is.")
    name: str = Field(description="Of the adapter.")
    version: str = Field(description="First 12 hex digits of `digest`.")
    state: VersionState = Field(description="Engines hold staged, canary and live ones; queries go to the last two.")
    digest: str = Field(description="SHA-256 over its files.")
    source: str = Field(description="Where its files came from: a URI, `upload`, `settings`, or `distill:RUN`.")
    rank: int = Field(description="Of its matrices.")
    size_bytes: int = Field(description="Of its files.")
    base_verified: bool = Field(description="Whether its manifest names the digest of the base that serves it.")
    base_override: bool = Field(description="Whether another base was accepted.")
    created_at: float = Field(description="Seconds since the epoch.")
    created_by: str = Field(description="Name of the key, `open` where there are none, or `settings`.")
    report: dict[str, Any] = Field(description="What checks and trial found.")


class AddedVersion(AdapterVersion):
    """The version that was taken in, and its adapter as it is now."""

    adapter: Adapter = Field(description="The name as it is now.")


class AdapterVersionList(Schema):
    """All versions of one adapter."""

    object: Literal["list"] = Field(description="What this is.")
    data: list[AdapterVersion] = Field(description="Newest first.")


class AuditEntry(Schema):
    """One change."""

    revision: int = Field(description="Of the registry, after it.")
    at: float = Field(description="Seconds since the epoch.")
    actor: str = Field(description="Name of the key; else `open` (there are none), `settings`, or `canary` (the rule).")
    action: str = Field(
        description="`add`, `reject`, `stage`, `canary`, `promote`, `rollback`, `remove`, `pin` or `unpin`."
    )
    name: str = Field(description="Of the adapter.")
    version: str | None = Field(description="Null: of the adapter as a whole.")
    detail: str = Field(description="More of it, in words.")


class AuditLog(Schema):
    """Who changed what."""

    object: Literal["list"] = Field(description="What this is.")
    data: list[AuditEntry] = Field(description="Newest first.")


class RoutingChange(Schema):
    """One change of the routing, as it was in force after it."""

    revision: int = Field(description="Rises by one with every change.")
    at: float = Field(description="Seconds since the epoch.")
    actor: str = Field(description="Name of the key; `open` where there are none.")
    routes: dict[str, str] | None = Field(description="Label -> adapter or `base`; null: those of the settings.")
    default: str | None = Field(description="Adapter of all other labels; null: that of the settings.")
    router: str | None = Field(description="Digest of the router; null: that of the settings.")
    detail: str = Field(description="The remark that came with it.")


class RoutingInForce(Schema):
    """Which router answers, and which adapter each of its labels gets."""

    object: Literal["routing"] = Field(description="What this is.")
    revision: int = Field(description="Rises by one with every change; 0: the settings.")
    routes: dict[str, str] = Field(description="Label -> adapter or `base`.")
    default: str = Field(description="Adapter of all other labels.")
    not_served: dict[str, str] = Field(description="Label, or `default`, -> the adapter that is not there.")
    router: str | None = Field(description="Digest of the router that was applied; null: that of the settings.")
    answering: str | None = Field(description="Digest of the router that one replica of it has now; null: no router.")
    history: list[RoutingChange] = Field(description="The last 20 changes, newest first.")
