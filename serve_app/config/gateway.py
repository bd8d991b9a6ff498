"""The HTTP ingress."""

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from serve_app.config.section import Section


class AdmissionSettings(Section):
    """Who is refused with 429 when there is too much to do, and when it is too much."""

    target_first_token_s: float | None = Field(
        None,
        gt=0,
        description="Seconds from a query's arrival to its first text that `quantile` of the queries are to keep: each "
        "gateway then lowers its places below `max_in_flight` while they are not kept. Take one that idle traffic "
        "keeps, escalated queries included. Unset: `max_in_flight` alone counts.",
    )
    quantile: float = Field(0.99, ge=0.5, le=0.999, description="Share of the queries that are to keep the target.")
    min_in_flight: int = Field(1, ge=1, description="Places that a gateway keeps, however late its first texts are.")
    default_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Of the places, rounded down but at least one: with so many taken only the tier `priority` is "
        "still admitted.",
    )
    flex_share: float = Field(
        0.5, gt=0, le=1, description="The same for the tier `flex`, which is the first to be refused."
    )
    priority_keys: list[str] = Field(
        default_factory=list,
        description="Names of keys that may ask for the tier `priority`, beside admin keys and those made with the "
        "right; without any key on the server everybody may.",
    )

    @model_validator(mode="after")
    def _flex_goes_first(self) -> Self:
        if self.flex_share > self.default_share:
            raise ValueError(
                f"flex_share is {self.flex_share:g}, above the default_share of {self.default_share:g}; flex is the "
                "first to be refused, so give it no larger share"
            )
        return self


class GatewaySettings(Section):
    """Limits and keys of the HTTP side."""

    host: str = Field("127.0.0.1", description="Address that the HTTP proxy binds.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the HTTP proxy binds.")
    api_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Key name -> key. With none set, requests need no key. The ledger holds the name only.",
    )
    admin_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Key name -> key for administration: accounts of all keys, budgets, the dashboard's figures. A "
        "user key sees its own accounts only. With neither kind set, all is open, which the loopback address bounds.",
    )
    kept_keys_s: float = Field(
        3600,
        ge=0,
        description="Oldest copy of the stored API keys (their digests) that a gateway starts with while the ledger is "
        "away, in seconds. A key that was revoked since the copy was made is taken until the ledger answers. 0: no "
        "copy is kept beside the journals, and such a gateway takes keys of the settings only.",
    )
    max_header_bytes: int = Field(
        32_768, ge=1024, description="Request headers of a larger total are refused with 431."
    )
    max_body_bytes: int = Field(4_000_000, ge=1024, description="A larger request body is refused with 413.")
    max_in_flight: int = Field(256, ge=1, description="Queries answered at once per replica; one more gets 429.")
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings, description="What is refused first.")
    max_choices: int = Field(8, ge=1, le=128, description="Largest `n` a request may ask for.")

    timeout_s: float = Field(
        300.0,
        gt=0,
        description="Seconds that a query may take from its arrival to its last word, and the most that a client may "
        "ask for with the header `x-headrace-timeout-s`.",
    )
    first_token_timeout_s: float | None = Field(
        None,
        gt=0,
        description="Seconds that a model may take to its first token, its queue included, before it counts as failed "
        "and the other one is asked as `cascade` says; not of the flex tier, which may wait. Unset: as long as the "
        "query may take.",
    )
    silence_timeout_s: float | None = Field(
        60.0,
        gt=0,
        description="Seconds between two tokens of an answer after which its replica counts as lost: a machine that "
        "vanishes breaks no connection. Not of the flex tier. Unset: as long as the query may take.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="How often a call is made again whose replica was lost before anything of the answer was sent.",
    )

    @field_validator("api_keys", "admin_keys")
    @classmethod
    def _keys_are_long_enough(cls, keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, key in keys.items():
            if len(key.get_secret_value()) < 8:
                raise ValueError(f"the key of {name!r} has fewer than 8 characters")
        return keys
