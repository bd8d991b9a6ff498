"""What may stand in `ledger.url`."""

import pytest

from serve_app.core import ConfigError
from serve_app.store import store_url
from serve_app.store.url import shown


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("ledger.db", "sqlite:///ledger.db"),
        ("/var/lib/ledger.db", "sqlite:////var/lib/ledger.db"),
        ("sqlite:////var/lib/ledger.db", "sqlite:////var/lib/ledger.db"),
        ("postgresql://ada@db:5433/ledger", "postgresql+psycopg://ada@db:5433/ledger"),
        ("postgresql+psycopg2://ada@db/ledger", "postgresql+psycopg://ada@db/ledger"),
    ],
)
def test_a_path_or_a_url_names_a_database(text, rendered):
    assert store_url(text).render_as_string() == rendered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://hunter2/ledger.db",
        "sqlite:///l.db?mode=hunter2",
        "mysql://ada:hunter2@db/ledger",
        "postgresql://ada:hunter2@db",
        "postgresql://ada:hunter2@db:port/ledger",
        "http://ada:hunter2@db/ledger",
        "://ada:hunter2@db/ledger",
    ],
)
def test_anything_else_is_one_sentence_without_the_password(text):
    with pytest.raises(ConfigError, match=r"^ledger\.url .*\.$") as caught:
        store_url(text)
    assert "hunter2" not in str(caught.value)


def test_the_shown_name_has_no_credentials():
    assert shown(store_url("postgresql://ada:hunter2@db/ledger?password=hunter2")) == "postgresql://db/ledger"
