"""What a key may do. The key itself is not part of it."""

from dataclasses import dataclass
from typing import Literal

from serve_app.config.budgets import Limit
from serve_app.core import RequestError, Tier

Role = Literal["user", "admin"]
"""A user asks, and sees its own accounts; an admin does that too, and sees and changes everything."""


class NotPermitted(RequestError):
    """The key is known, and may not do this."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key's name and rights. Equal rights for everything that is not said here."""

    key_id: str
    """Its name; accounts carry it."""
    role: Role = "user"
    models: tuple[str, ...] | None = None
    """Names of models and adapters that it may ask for; None is all. `auto` and other graphs are names as well, and
    whoever may ask for one gets the answer of whatever model the graph chooses."""
    limits: tuple[Limit, ...] = ()
    """Budgets that it was made with; none: those of every key."""
    semantic_cache: bool = False
    """Whether it takes answers that were given to similar questions."""
    store_texts: bool = False
    """Whether its prompts and answers are kept."""
    priority: bool = False
    """Whether it may ask for the tier `priority`; an admin key may without it."""

    def may_ask(self, model: str) -> bool:
        """Whether the allow-list has this name, as the client wrote it.

        >>> Key("ada", models=("auto", "legal")).may_ask("large"), Key("bob").may_ask("large")
        (False, True)
        """
        return self.models is None or model in self.models

    def check_model(self, model: str) -> None:
        """Raises NotPermitted where `may_ask` says no."""
        if not self.may_ask(model):
            allowed = ", ".join(self.models or ()) or "nothing"
            raise NotPermitted(
                f"This API key may not ask for {model[:80]!r}; it may ask for {allowed}.",
                "model",
                "model_not_permitted",
            )

    def check_tier(self, tier: Tier) -> None:
        """Raises NotPermitted for `priority` without the right to it."""
        if tier == "priority" and not self.priority and self.role != "admin":
            raise NotPermitted(
                "This API key may not ask for service_tier 'priority'; leave it out, or ask for a key with the right.",
                "service_tier",
                "tier_not_permitted",
            )

    def check_admin(self) -> None:
        """Raises NotPermitted for a user key."""
        if self.role != "admin":
            raise NotPermitted("This needs an admin key, and a user key was given.", None, "admin_key_needed")
