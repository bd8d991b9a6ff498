"""What clients of OpenAI-compatible servers share."""

import random

import pytest

from serve_app.core import ConfigError
from serve_app.endpoints import api_root, jittered_s, key_of, rate_limit_wait_s, read_refusal, retry_after_s


@pytest.mark.parametrize("url", ["host", "ftp://host", "http://", "http://user:pw@host", "http://host?key=1"])
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError) as error:
        api_root(url)
    assert "pw" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["https://host/v1", "https://host/v1/", "https://host", "https://host/v1/models", "https://host/v1#x"]
)
def test_an_address_may_be_written_in_many_ways(url):
    assert api_root(url) == "https://host/v1"


@pytest.mark.parametrize("value", [None, " ", "two\nlines", "schlüssel"])
def test_a_key_that_cannot_be_sent_names_its_variable_only(monkeypatch, value):
    monkeypatch.delenv("FAR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("FAR_KEY", value)
    with pytest.raises(ConfigError, match="FAR_KEY") as error:
        key_of("FAR_KEY")
    assert "lines" not in str(error.value) and "schl" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "short"}', "short"),
        (b'{"error": {"message": null}}', ""),
        (b'{"error": 3}', ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b'{"error": {"message": "' + b"x" * 1000 + b'"}}', "x" * 300),
    ],
)
def test_any_body_is_read_as_a_refusal(body, message):
    assert read_refusal(500, body).message == message


@pytest.mark.parametrize("said", ["", "soon", "-3", "nan", "inf", "Wed, 99 Foo 2015"])
def test_a_retry_after_that_says_nothing_is_none(said):
    assert retry_after_s({"retry-after": said}) is None


def test_only_a_limit_that_is_used_up_is_waited_for_and_of_two_the_longer():
    headers = {
        "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "150ms",
    }  # fmt: skip
    assert rate_limit_wait_s(headers) == 2 and rate_limit_wait_s({}) == 0


def test_waits_double_up_to_a_bound_and_any_part_of_them_is_likely():
    random.seed(5)
    waits = [[jittered_s(retry, 1.0, 8.0) for _ in range(500)] for retry in range(6)]
    for retry, drawn in enumerate(waits):
        bound = min(8.0, 2.0**retry)
        assert 0 <= min(drawn) < 0.05 * bound and 0.95 * bound < max(drawn) <= bound
