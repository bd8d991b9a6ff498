"""The HTTP ingress."""

from pydantic import Field, SecretStr, field_validator

from serve_app.config.section import Section


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
    max_header_bytes: int = Field(
        32_768, ge=1024, description="Request headers of a larger total are refused with 431."
    )
    max_body_bytes: int = Field(4_000_000, ge=1024, description="A larger request body is refused with 413.")
    max_in_flight: int = Field(256, ge=1, description="Queries answered at once per replica; one more gets 429.")
    max_choices: int = Field(8, ge=1, le=128, description="Largest `n` a request may ask for.")

    @field_validator("api_keys", "admin_keys")
    @classmethod
    def _no_empty_key(cls, keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, key in keys.items():
            if len(key.get_secret_value()) < 8:
                raise ValueError(f"the key of {name!r} has fewer than 8 characters")
        return keys
