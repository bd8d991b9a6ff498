"""The line of a query: what it says, and that nobody can forge another one."""

import doctest
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Answer, Attempt, Usage
from serve_app.telemetry import QueryLog, querylog

ACCOUNT = Answer(
    "q1",
    1_767_225_600.0,
    "auto",
    "accepted",
    (
        Attempt("specialists", "small", "legal", "escalated", Usage(10, 4, 3), 5.0),
        Attempt("fallback", "large", None, "accepted", Usage(10, 0, 7), 9.0),
    ),
    key_id="team a",
    route="legal",
    model="large",
    escalated=True,
    reason="never in the log: it may quote settings",
    first_token_ms=20.04,
    ms=30.06,
    cost_nusd=1500,
    always_large_nusd=900,
)


@pytest.fixture
def lines(caplog):
    """Lines of a kind of log after one account."""

    def write(kind: str, account: Answer = ACCOUNT) -> list[str]:
        logger = logging.getLogger("test.queries")
        with caplog.at_level(logging.INFO, logger="test.queries"):
            QueryLog(TelemetrySettings(query_log=kind), logger).ended(account)
        return caplog.messages

    return write


def test_the_text_line_names_query_route_outcome_tokens_and_money(lines):
    assert lines("text") == [
        "query q1 accepted at=2026-01-01T00:00:00.000+00:00 model=auto route=legal answered_by=large escalated=true "
        'key="team a" tier=default attempts=2 prompt_tokens=20 cached_tokens=4 completion_tokens=10 '
        "first_token_ms=20 ms=30.1 cost_usd=0.0000015 always_large_usd=0.0000009"
    ]


def test_the_json_line_is_one_object_with_every_field(lines):
    (line,) = lines("json")
    said = json.loads(line)
    assert (said["event"], said["query_id"], said["outcome"]) == ("query", "q1", "accepted")
    assert (said["prompt_tokens"], said["completion_tokens"], said["cost_usd"]) == (20, 10, 1.5e-6)
    assert said["adapter"] is said["cache"] is said["shadow_of"] is None


def test_off_writes_nothing(lines):
    assert lines("off") == []


@given(st.text(min_size=1))
def test_a_key_name_never_breaks_out_of_its_line(name):
    (text,) = {querylog._text({"event": "query", "query_id": "q1", "outcome": "failed", "key": name})}
    assert len(text.splitlines()) == 1
    _, _, word = text.partition(" key=")
    assert (json.loads(word) if word.startswith('"') else word) == name


def test_the_worked_value_is_right():
    assert doctest.testmod(querylog).failed == 0
