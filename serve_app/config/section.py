"""The base of every settings section: frozen, an unknown key is an error, and numbers are finite."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of the settings file. Every field carries a `description`; docs/configuration.md lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
