from importlib.metadata import EntryPoint, EntryPoints

import pytest

from serve_app.core import ConfigError
from serve_app.labelling.scorers import SCORERS, Item, names, registry, scorer


class Polite:
    """A scorer as somebody else would write it."""

    name = "polite"

    def __init__(self, word: str = "please") -> None:
        self.word = word

    async def score(self, item):
        return float(self.word in item.answer)


@pytest.fixture
def installed(monkeypatch):
    points = EntryPoints(
        [
            EntryPoint("polite", f"{__name__}:Polite", registry.GROUP),
            EntryPoint("gone", "no_such_module:Scorer", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: points.select(**wanted))
    monkeypatch.setattr(EntryPoint, "load", lambda point: Polite)  # a test module cannot be imported by its name


def test_every_scorer_has_the_name_it_is_found_under():
    assert all(kind.name == name for name, kind in SCORERS.items())
    assert {"contains", *SCORERS} <= set(names())


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ConfigError, match="no scorer 'vibes'; choose one of: agreement"):
        scorer("vibes")


def test_an_unknown_option_lists_what_there_is():
    with pytest.raises(ConfigError, match="no option 'tolerence'; it takes tolerance"):
        scorer("numeric", tolerence=1)
    with pytest.raises(ConfigError, match="takes none"):
        scorer("exact", tolerance=1)
    with pytest.raises(ConfigError, match="no option 'transport'"):
        scorer("judge", transport=None)


def test_options_of_a_command_line_are_texts_and_are_converted_or_refused():
    assert scorer("numeric", tolerance="0.5").tolerance == 0.5
    assert scorer("normalised", contains="true").contains is True
    with pytest.raises(ConfigError, match="'tolerance' of scorer 'numeric'"):
        scorer("numeric", tolerance="much")
    with pytest.raises(ConfigError, match="'by' of scorer 'agreement'"):
        scorer("agreement", by="feeling")


async def test_an_installed_scorer_is_found_by_its_entry_point(installed):
    assert await scorer("polite", word="thanks").score(Item("?", "thanks a lot")) == 1
    assert "polite" in names()
    with pytest.raises(ConfigError, match="does not take these options"):
        scorer("polite", words="thanks")


def test_an_installed_scorer_that_cannot_be_imported_is_named(installed, monkeypatch):
    def fail(point):
        raise ImportError("No module named 'no_such_module'")

    monkeypatch.setattr(EntryPoint, "load", fail)
    with pytest.raises(ConfigError, match=r"'gone' \(no_such_module:Scorer\) cannot be imported"):
        scorer("gone")
