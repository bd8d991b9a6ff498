"""From settings to what answers in the place of one model."""

from __future__ import annotations

from serve_app.config import EnsembleSettings, RoutesSettings
from serve_app.core import ConfigError
from serve_app.patterns.answerers import Answerer, Node
from serve_app.patterns.ensemble.choosing import Choosing
from serve_app.patterns.ensemble.large import LargeModel
from serve_app.patterns.ensemble.lock_step import LockStep
from serve_app.patterns.ensemble.members import members_of
from serve_app.patterns.ensemble.mixture import ByRoute, ConfiguredMembers
from serve_app.patterns.ensemble.normalise import NORMALISERS
from serve_app.patterns.ensemble.strategy import BestOf, Strategy, Vote
from serve_app.patterns.ensemble.sureness import PolicyOf, Sureness, named_scorer


def ensemble_of(
    settings: EnsembleSettings,
    routes: RoutesSettings,
    specialists: Node,
    fallback: Node | None,
    large: LargeModel | None,
    policy_of: PolicyOf = lambda: None,
) -> Answerer:
    """The answerer of settings that are `enabled`. `large` is `fallback` with its guard; `policy_of`: see `Sureness`.

    Raises ConfigError where a member or `escalate_below` needs a large model that the graph lacks, or the scorer is
    none.
    """
    if settings.escalate_below is not None and large is None:
        raise ConfigError(
            "ensemble.escalate_below needs a large model, and this graph has none: leave it out, or serve a graph that "
            "has one."
        )
    if settings.strategy == "soft_routing":
        return LockStep(ByRoute(specialists, routes, settings.least_weight), settings.quorum, large)
    members = members_of(settings, specialists, fallback)
    if settings.strategy == "average":
        return LockStep(ConfiguredMembers(members), settings.quorum, large)
    return Choosing(settings, members, _strategy(settings, Sureness(specialists.name, policy_of), large), large)


def _strategy(settings: EnsembleSettings, sureness: Sureness, large: LargeModel | None) -> Strategy:
    normalise = NORMALISERS[settings.normalise]
    if settings.strategy == "best_of_n":
        return BestOf(normalise, sureness, named_scorer(settings.scorer) if settings.scorer else None)
    is_weighted, more = settings.strategy == "weighted_vote", (large.is_asked,) if large else ()
    return Vote(normalise, sureness, is_weighted, settings.escalate_below, *more)
