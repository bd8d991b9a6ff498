"""Votes on filed answers, the choices made on validation, and the intervals around them."""

import json

import numpy as np
import pytest

from bench.ensemble import members, quality, task, votes
from bench.ensemble.votes import Said
from bench.readme_figures.ensemble import ensemble


def said(answer, right, confidence=0.9, cost=1.0):
    return Said(answer, confidence, right, cost, prompt_tokens=10)


YES, NO, OTHER = said("a", True), said("b", False), said("c", False)


def test_the_vote_is_right_where_most_members_are():
    way = votes.vote([[YES, YES, NO], [YES, NO, NO], [YES, NO, OTHER]])
    assert way.right.tolist() == [1.0, 0.0, 1.0]  # the last is a tie: the first member's answer


def test_every_member_is_paid_for_whichever_answer_is_given():
    rows = [[said("a", True, cost=2.0), said("b", False, cost=3.0)]]
    assert [way(rows).cost_nusd.tolist() for way in (votes.vote, votes.best_of)] == [[5.0], [5.0]]


def test_a_sure_member_outweighs_two_unsure_ones_in_a_weighted_vote_alone():
    rows = [[said("a", True, 0.9), said("b", False, 0.3), said("b", False, 0.3)]]
    assert votes.vote(rows).right.tolist() == [0.0]
    assert votes.vote(rows, weighted=True).right.tolist() == [1.0]


def test_best_of_takes_the_surest_answer():
    rows = [[said("a", True, 0.6), said("b", False, 0.5), said("b", False, 0.5)]]
    assert votes.best_of(rows).right.tolist() == [1.0]


def test_an_answer_that_cannot_be_compared_abstains():
    assert votes.vote([[said(None, False), said("a", True)]]).right.tolist() == [1.0]


def test_more_members_are_averaged_over_all_sets_of_as_many():
    found = votes.by_size([[YES, YES, NO], [NO, YES, YES]])
    assert found[1]["vote"] == pytest.approx(4 / 6)
    assert found[3]["vote"] == 1.0


def test_only_requests_with_too_small_a_share_cost_the_large_model():
    rows, large = [[YES, YES], [NO, OTHER]], [said("x", False, cost=100.0), said("y", True, cost=100.0)]
    way, share = votes.escalated(rows, large, below=0.75)
    assert (way.right.tolist(), way.cost_nusd.tolist(), share) == ([1.0, 1.0], [2.0, 102.0], 0.5)


def test_the_bound_chosen_on_validation_asks_a_better_large_model_only():
    rows = [[YES, YES], [NO, OTHER]]
    assert votes.chosen_threshold(rows, [YES, YES]) > 0.0
    assert votes.chosen_threshold(rows, [NO, NO]) == 0.0


def test_a_clear_gain_is_outside_its_interval_and_none_is_not():
    all_right = votes.outcome([YES] * 200)
    half_right = votes.outcome([YES, NO] * 100)
    assert votes.gain(all_right, half_right)["outside"]
    assert not votes.gain(half_right, half_right)["outside"]
    assert votes.gain(half_right, half_right)["interval_95"] == [0.0, 0.0]


def test_the_interval_is_about_that_of_a_share():
    low, high = votes.interval(np.array([1.0, 0.0] * 200))
    assert (low, high) == pytest.approx((0.45, 0.55), abs=0.01)


def filed(**changes):
    rows = [[YES, YES, NO], [YES, NO, YES], [NO, YES, YES], [NO, OTHER, NO]] * 10
    large = [YES, NO] * 20
    parts = {
        "validation": rows, "test": rows, "samples": rows, "pooled": [YES] * 40, "large_validation": large[:20],
        "large_test": large[:20], "lock_step": [YES] * 20, "pattern": [YES] * 4, "seconds": {"members": 1.0},
    }  # fmt: skip
    return quality.Filed(**parts | changes)


def test_the_report_has_the_headlines_and_is_json():
    found = quality.report(filed(), ["one", "two", "three"])
    assert (found["vote_accuracy"], found["best_member"], found["best_member_accuracy"]) == (0.75, "one", 0.5)
    assert found["large_accuracy"] == 0.5
    assert found["pattern"] == {"requests": 4, "same_answer": 0.75}
    assert json.loads(json.dumps(found)) is not None


def test_what_was_not_tried_is_not_in_the_report():
    ways = quality.report(filed(samples=[], pooled=[]), ["one", "two", "three"])["ways"]
    assert set(ways) == {"best_member", "vote", "weighted_vote", "best_of_n"}


def test_members_learn_from_disjoint_texts():
    texts = [task.Request(f"train/{number}", f"text {number}", "refund") for number in range(23)]
    parts = [row.id for plan in members.MEMBERS for row in plan.rows(texts)]
    assert len(parts) == len(set(parts)) == 16


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "banking77"
    folder.mkdir()
    for part, size in (("train", 1200), ("test", 30)):
        rows = [{"text": f"{part} {number}", "label": f"label_{number % 3}"} for number in range(size)]
        rows.append({"text": "in both", "label": "label_0"})
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_no_text_is_in_two_parts_of_the_split(data):
    found = task.split(data)
    texts = [{row.text for row in part} for part in (found.train, found.validation, found.test)]
    assert [len(part) for part in texts] == [200, 1000, 31]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert found == task.split(data)


def test_the_large_model_sees_every_intent_and_one_example_of_each(data):
    shown = task.shown_to_large(task.split(data).train)
    assert sorted(turn.content for turn in shown if turn.role == "assistant") == ["label 0", "label 1", "label 2"]
    assert len(shown) == 1 + 2 * 3


def test_kept_members_say_what_they_learnt_from(repo):
    for plan in members.MEMBERS:
        metrics = json.loads((members.FOLDER / plan.name / "metrics.json").read_text())
        assert metrics["options"]["seed"] == plan.seed
        assert metrics["data"]["sources_sha256"].keys() == set(task.SOURCES)


def test_the_readme_says_which_way_is_how_good_at_what_price():
    quality_part = quality.report(filed(samples=[], pooled=[]), ["one", "two", "three"])
    quality_part |= {"base": "small", "large": "big"}
    text = ensemble({"quality": quality_part, "time_of_4_over_1": 1.234}, "On this machine")
    assert "| **vote** | 40 | 75.0%," in text
    assert "| big, an example of each intent in its prompt | 20 |" in text
    assert "1.23 times the time of one. On this machine." in text
    assert "samples of the best member" not in text
