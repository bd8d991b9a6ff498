"""What compares two answers in an audit: which scorers can, and what becomes of answers that they cannot judge."""

import pytest

from serve_app.config.watch import WatchSettings
from serve_app.core import ConfigError
from serve_app.gateway import comparison


def compare(scorer, small, large, **options):
    return comparison(WatchSettings(scorer=scorer, scorer_options=options))("How much?", small, large)


@pytest.mark.parametrize(
    ("scorer", "small", "large", "score"),
    [
        ("agreement", "It is capped.", "it is capped", 1.0),
        ("exact", "It is capped.", "it is capped", 0.0),
        ("normalised", "It is capped.", "it is capped", 1.0),
        ("contains", "I think it is capped, yes.", "it is capped", 1.0),
        ("shell_template", "ls -l /tmp", "ls -l /var", 1.0),
    ],
)
async def test_scorers_of_two_texts_take_the_large_answer_for_the_reference(scorer, small, large, score):
    assert await compare(scorer, small, large) == score


@pytest.mark.parametrize("scorer", ["code", "numeric", "choice", "verdict"])
def test_a_scorer_that_needs_more_than_two_texts_is_refused_with_the_others_named(scorer):
    with pytest.raises(ConfigError, match=rf"cascade.watch.scorer: '{scorer}' cannot compare .*agreement, contains"):
        comparison(WatchSettings(scorer=scorer))


def test_an_unknown_scorer_and_a_bad_option_are_named_with_their_key():
    with pytest.raises(ConfigError, match=r"cascade.watch.scorer: There is no scorer 'vibes'"):
        comparison(WatchSettings(scorer="vibes"))
    with pytest.raises(ConfigError, match=r"cascade.watch.scorer: Scorer 'agreement' has no option 'near'"):
        comparison(WatchSettings(scorer="agreement", scorer_options={"near": 1}))


async def test_options_reach_the_scorer():
    assert await compare("agreement", "it is capped at ten", "it is capped at ten dollars") == 1.0
    assert await compare("agreement", "it is capped at ten", "it is capped at ten dollars", by="equal") == 0.0


def test_a_judge_can_be_configured():
    with pytest.raises(ConfigError, match="url"):
        comparison(WatchSettings(scorer="judge"))
    options = {"url": "https://judge.test/v1", "model": "j", "compare": "large"}
    assert comparison(WatchSettings(scorer="judge", scorer_options=options))


async def test_what_cannot_be_compared_is_not_scored():
    assert await compare("exact", "something", " ") is None
