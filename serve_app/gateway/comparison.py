"""Two answers to one question, compared by a scorer of the labelling package."""

import logging

from serve_app.config.watch import WatchSettings
from serve_app.core import ConfigError, DataError
from serve_app.labelling.scorers import SCORERS, Item, scorer
from serve_app.patterns.shadow import Scorer

_LOG = logging.getLogger(__name__)
_OF_TWO_TEXTS = ("agreement", "contains", "exact", "judge", "normalised", "shell_template")


def comparison(settings: WatchSettings, section: str = "cascade.watch") -> Scorer:
    """What an audit asks. The large answer stands in for the reference, too. `section`: where the scorer is set.

    Raises ConfigError for an unknown scorer, an option that does not fit, and a scorer of the package that needs more
    than two texts: `code` has no tests here, and `numeric`, `choice` and `verdict` would leave out all queries whose
    large answer states none, so that the audited ones would be no sample of the accepted.
    """
    name = settings.scorer
    if name in SCORERS and name not in _OF_TWO_TEXTS:
        known = ", ".join(_OF_TWO_TEXTS)
        raise ConfigError(f"{section}.scorer: {name!r} cannot compare any two answers; choose one of: {known}.")
    try:
        found = scorer(name, **settings.scorer_options)
    except ConfigError as error:
        raise ConfigError(f"{section}.scorer: {error}") from error

    async def compare(question: str, small_answer: str, large_answer: str) -> float | None:
        try:
            return await found.score(Item(question, small_answer, large_answer, large_answer=large_answer))
        except DataError as error:  # such as an empty large answer; the watch counts what was not scored
            _LOG.info("An answer could not be compared by %s: %s", name, error)
            return None

    return compare
