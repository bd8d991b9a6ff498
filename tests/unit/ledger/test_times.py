"""Points in time as people write them."""

import pytest

from serve_app.core import RequestError
from serve_app.ledger import parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01", 1772323200.0),
        ("2026-03-01T09:30", 1772357400.0),
        ("2026-03-01 09:30:00Z", 1772357400.0),
        ("2026-03-01T10:30+01:00", 1772357400.0),
        ("1772357400", 1772357400.0),
        ("1772357400.5", 1772357400.5),
        ("30m", 2e9 - 1800),
        ("24h", 2e9 - 86_400),
        ("7d", 2e9 - 604_800),
        ("2w", 2e9 - 1_209_600),
    ],
)
def test_a_time_is_seconds_since_the_epoch_in_utc(text, seconds):
    assert parse_time(text, now_s=2e9, param="since") == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "24 h", "-3d", "2026-13-01", "nan", "1e400", "7y", "12"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(RequestError, match=r"since is .* which is no time; write 2026-03-01") as caught:
        parse_time(text, now_s=2e9, param="since")
    assert caught.value.param == "since"
