"""The judge of bench.lifecycle sees every kind of wrong answer, and takes no right one for wrong."""

from dataclasses import replace

import pytest

from bench.lifecycle.changes import Change
from bench.lifecycle.verdict import Asked, convergence, judge
from bench.readme_figures.lifecycle import lifecycle

CHANGES = [
    Change("begin", 0, 1, "a", None, 0.0),
    Change("canary", 20, 21, "a", "b", 0.1),
    Change("promote", 40, 41, "b", None, 0.0),
    Change("remove", 60, 61, None, None, 0.0),
    Change("add again", 80, 81, "a", None, 0.0),
]
ANSWERS = {("a", "hello"): "one", ("b", "hello"): "two"}
GOOD = Asked("hello", 10.0, 10.5, 200, None, "q", "a", "one")


def judged(*asked: Asked, rows: dict[str, str | None] | None = None) -> tuple[int, int, int, int]:
    verdict = judge(asked, CHANGES, ANSWERS, {"q": "a", "r": "b"} if rows is None else rows)
    return verdict.answered, verdict.failed, verdict.absent, verdict.misversioned


def test_a_right_answer_is_answered() -> None:
    assert judged(GOOD) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(GOOD, version="b", query_id="r", answer="two"),
        replace(GOOD, answer="two"),
        replace(GOOD, query_id="unknown"),
        replace(GOOD, query_id="r"),
    ],
    ids=["at a time when it did not answer", "another version's text", "no row", "a row of another version"],
)
def test_each_kind_of_wrong_answer_is_seen(wrong: Asked) -> None:
    answered, failed, absent, misversioned = judged(wrong)
    assert (answered, failed, absent) == (1, 0, 0)
    assert misversioned >= 1


def test_old_and_new_are_right_while_replicas_follow() -> None:
    new = replace(GOOD, version="b", query_id="r", answer="two")
    during = [replace(one, sent_at_s=40.5, done_at_s=40.9) for one in (GOOD, new)]
    assert judged(*during) == (2, 0, 0, 0)
    assert judged(replace(GOOD, sent_at_s=45, done_at_s=46))[3] == 1
    assert judged(replace(new, sent_at_s=45, done_at_s=46)) == (1, 0, 0, 0)


def test_a_404_is_right_only_while_the_name_is_gone() -> None:
    gone = Asked("hello", 65.0, 65.1, 404)
    assert judged(gone) == (0, 0, 1, 0)
    assert judged(replace(gone, sent_at_s=30.0, done_at_s=30.1)) == (0, 1, 0, 0)
    assert judged(replace(gone, sent_at_s=90.0, done_at_s=90.1)) == (0, 1, 0, 0)


def test_what_broke_off_has_failed() -> None:
    assert judged(replace(GOOD, fault="cut")) == (0, 1, 0, 0)
    assert judged(replace(GOOD, status=503)) == (0, 1, 0, 0)


def test_a_conversation_that_changes_its_version_is_seen() -> None:
    one = replace(GOOD, sent_at_s=30.0, done_at_s=30.5)
    other = replace(one, version="b", query_id="r", answer="two", sent_at_s=32.0, done_at_s=32.5)
    assert judged(one) == (1, 0, 0, 0)
    assert judged(one, other) == (2, 0, 0, 1)


def test_convergence_is_how_long_the_old_version_was_still_sent_for() -> None:
    late = replace(GOOD, sent_at_s=41.5, done_at_s=42.0)
    again = replace(GOOD, sent_at_s=83.0, done_at_s=84.0)
    assert convergence([GOOD, late, again], CHANGES)[0] == {"what": "promote", "old_sent_after_s": 0.5}


def test_the_readme_has_its_paragraph() -> None:
    found = {
        "changes": 11,
        "answered": 210,
        "failed": 0,
        "absent": 14,
        "misversioned": 0,
        "wrong": {"wrong_time": 0, "wrong_text": 0},
        "convergence": [{"what": "promote", "old_sent_after_s": 0.4}],
    }
    text = lifecycle(found, "On a machine")
    assert "11 changes" in text
    assert "during 0.4 s at most" in text
