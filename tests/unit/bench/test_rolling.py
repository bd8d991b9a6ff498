"""The figures of a rolling update: a failure counts, and a wait counts against the p99 of its own kind."""

from bench.cluster.rolling import KINDS, Done, Plan, figures
from bench.load import Outcome

WHOLE, LONG = (next(kind for kind in KINDS if kind.name == name) for name in ("whole", "long"))
PLAN = Plan(rate=10, steady_s=10)
UPDATE = Done("new code version", 10.0, 20.0, 8.0, {"Gateway": [1, 2]}, {"Gateway": [2, 3]})


def outcome(ask: object, at_s: float, took_s: float, status: int = 200) -> Outcome:
    return Outcome(ask, at_s, sent_s=at_s, status=status, first_text_s=at_s + took_s, done_s=at_s + took_s)  # type: ignore[arg-type]


STEADY = [outcome(WHOLE, 1.0, 0.1), outcome(LONG, 2.0, 2.0)]


def test_a_query_that_fails_or_is_refused_during_an_update_is_counted() -> None:
    during = [outcome(WHOLE, 11.0, 0.1), outcome(WHOLE, 12.0, 0.1, 503), outcome(WHOLE, 13.0, 0.1, 429)]
    found = figures(PLAN, [*STEADY, *during], [UPDATE])
    assert found["rolling_update_failed"] == 2
    assert found["updates"][0]["faults"] == {"HTTP 503": 1, "HTTP 429": 1}
    assert found["updates"][0]["queries"] == 3


def test_a_query_that_an_update_cuts_off_is_counted_once() -> None:
    cut = [outcome(LONG, 9.5, 1.0, 502), outcome(LONG, 19.5, 1.0, 502)]
    later = Done("new settings", 20.0, 30.0, 8.0, {"Gateway": [2, 3]}, {"Gateway": [4, 5]})
    found = figures(PLAN, [*STEADY, *cut], [UPDATE, later])
    assert found["rolling_update_failed"] == 2
    assert [update["failed"] for update in found["updates"]] == [2, 1]


def test_a_long_answer_has_not_waited_because_it_is_long() -> None:
    during = [outcome(LONG, 11.0, 2.1), outcome(WHOLE, 12.0, 0.6)]
    found = figures(PLAN, [*STEADY, *during], [UPDATE])
    assert found["longest_wait_over_p99_s"] == 0.5
    assert found["updates"][0]["longest"][0]["kind"] == "whole"


def test_replicas_with_another_process_are_replaced_ones() -> None:
    assert figures(PLAN, STEADY, [UPDATE])["updates"][0]["replaced"] == {"Gateway": 1}
