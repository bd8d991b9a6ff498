"""The base of every settings section: frozen, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of the settings file. Every field carries a `description`; docs/configuration.md lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
