"""Rows that guess ahead: the same answers in fewer steps, and nothing that was guessed wrong is left anywhere."""

import random

import pytest

from serve_app.engine.drafting import FREE_TOKENS, Drafting
from serve_app.engine.request import Discard, Ensemble, Request, Row
from tests.unit.engine.scripted import Clock, ScriptedRunner, token

END = 99
TRUTH = [11, 12, 13, 14, 15, 16, 17, 18] * 5
"""An answer that repeats itself."""


@pytest.mark.parametrize("max_tokens", [1, 2, 17, 30])
def test_drafts_that_hold_give_the_same_answer_in_fewer_steps(drive, max_tokens):
    answers, runners = [], []
    for draft_tokens in (0, 4):
        runners.append(ScriptedRunner(truth=TRUTH))
        driver = drive(runners[-1], draft_tokens=draft_tokens)
        sink = driver.submit([3, 4], max_tokens=max_tokens)
        driver.finish()
        answers.append((sink.ids, sink.finish, [usage.completion_tokens for usage in sink.usages]))
    assert answers[0] == answers[1] == (TRUTH[:max_tokens], "length", list(range(1, max_tokens + 1)))
    num_plain, num_drafted = (len(runner.plans) for runner in runners)
    assert num_plain == max_tokens
    assert num_drafted == max_tokens if max_tokens <= 2 else num_drafted <= max_tokens - 4


def test_end_token_within_a_draft_ends_the_answer_there(drive):
    truth = [*TRUTH[:20], END, *TRUTH]
    driver = drive(ScriptedRunner(truth=truth), draft_tokens=4, end_ids=[END])
    sink = driver.submit([*truth[:21], 5, 6])  # the prompt holds it, so it is guessed
    driver.finish()
    assert sink.ids == truth[:12] and sink.finish == "length"
    sink = driver.submit([*truth[:21], 5, 6], max_tokens=40)
    driver.finish()
    assert sink.ids == truth[:21] and sink.finish == "stop"


def test_sink_that_is_satisfied_within_a_draft_gets_no_more(drive):
    driver = drive(ScriptedRunner(truth=TRUTH), draft_tokens=4)
    sink = driver.submit(TRUTH, stop_after=5, max_tokens=30)
    driver.finish()
    assert sink.ids == TRUTH[:5] and sink.finish is None
    assert len(driver.loop._runner.plans) < 5


def test_only_tokens_that_held_are_reused(drive):
    truth = [11, 12, 50, 13, 14, 51, 15, 16, 52, 17]
    runner = ScriptedRunner(truth=truth)
    driver = drive(runner, draft_tokens=4)
    sink = driver.submit(TRUTH[:16], max_tokens=9)
    driver.finish()
    segments = [plan.segments[0] for plan in runner.plans]
    assert sink.ids == truth[:9]
    assert any(segment.token_ids[:3] == (11, 12, 13) for segment in segments), "13 was guessed where 50 came"
    turn = driver.submit([*TRUTH[:16], *sink.ids, 9], max_tokens=1)
    driver.finish()
    assert turn.usages[-1].cached_tokens == 16 + 8, "all but the newest token of the answer"


def test_ensembles_and_crowds_do_not_guess(drive):
    runner = ScriptedRunner(truth=TRUTH)
    driver = drive(runner, draft_tokens=4)
    for _ in range(2):
        driver.submit(TRUTH, ensemble=Ensemble("both", 2), max_tokens=20)
    driver.finish()
    for _ in range(8):
        driver.submit(TRUTH, max_tokens=20)
    driver.finish()
    assert {segment.sampled for plan in runner.plans for segment in plan.segments} == {0, 1}


def make_row(prompt=TRUTH, **fields):
    return Row(Request("row", tuple(prompt), 40, Discard(), **fields), 0, None, random.Random(0))


@pytest.mark.parametrize(("num_rows", "expected"), [(1, 6), (2, 3), (4, 1), (FREE_TOKENS // 2 + 1, 0), (9, 0)])
def test_guesses_of_all_rows_fit_into_a_pass_that_costs_no_more(num_rows, expected):
    drafting, rows = Drafting(6), [make_row() for _ in range(num_rows)]
    for row in rows:
        drafting.learn(row, [token(TRUTH[0])])
    drafting.propose(rows)
    assert all(row.draft_ids == tuple(TRUTH[1 : 1 + expected]) for row in rows)


def test_row_that_has_no_token_yet_has_no_guess(drive):
    drafting, row = Drafting(4), make_row()
    other = make_row()
    drafting.learn(other, [token(TRUTH[0])])
    drafting.propose([row, other])
    assert row.draft_ids == () and other.draft_ids


def test_guesses_are_taken_back_once_they_were_checked_or_the_row_has_left():
    drafting, row = Drafting(4), make_row()
    drafting.learn(row, [token(TRUTH[0])])
    drafting.propose([row])
    assert row.draft_ids
    drafting.learn(row, [token(77)])
    assert row.draft_ids == ()
    drafting.forget(row)
    drafting.forget(row)
    drafting.propose([row])
    assert row.draft_ids == ()


def test_nothing_is_learnt_when_drafts_are_off():
    drafting, row = Drafting(0), make_row()
    drafting.learn(row, [token(TRUTH[0])])
    drafting.propose([row])
    assert row.draft_ids == ()


def test_nothing_is_kept_of_rows_that_were_cancelled_or_late(drive):
    clock = Clock()
    driver = drive(ScriptedRunner(truth=TRUTH), draft_tokens=4, clock=clock)
    driver.submit([3, 4], name="left", max_tokens=30)
    driver.submit([5, 6], max_tokens=30, deadline_s=5.0)
    driver.loop.step()
    assert len(driver.loop._drafting._drafters) == 2
    driver.loop.cancel("left")
    clock.now_s = 6.0
    driver.submit([7, 8])
    driver.finish()
    assert not driver.loop._drafting._drafters
