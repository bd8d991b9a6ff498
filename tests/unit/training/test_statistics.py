import pytest

from serve_app.training.statistics import RowScore, aggregate, compare


def rows(values, metric="exact", **more):
    return [RowScore(index, "g", metric, value, **more) for index, value in enumerate(values)]


def test_a_clear_gain_lies_outside_the_interval_and_no_gain_does_not():
    worse, better = rows([0.0] * 50), rows([1.0] * 40 + [0.0] * 10)
    (gain,) = compare(worse, better)
    assert (gain.before, gain.after, gain.num_rows) == (0.0, 0.8, 50)
    assert 0 < gain.low < 0.8 < gain.high < 1
    assert gain.better
    assert not compare(better, better)[0].better
    assert not compare(better, worse)[0].better


def test_loss_weighs_tokens_and_less_is_better():
    before = [RowScore(0, "g", "loss", 10.0, 5.0), RowScore(1, "g", "loss", 2.0, 1.0)]
    assert aggregate(before) == pytest.approx(12 / 6)
    after = [RowScore(one.row, "g", "loss", one.value - 1, one.weight) for one in before]
    assert compare(before, after)[0].better


def test_choice_counts_every_label_the_same():
    scores = [RowScore(index, "g", "choice", 1.0, label="Yes") for index in range(9)]
    scores.append(RowScore(9, "g", "choice", 0.0, label="No"))
    assert aggregate(scores) == 0.5


def test_several_groups_of_one_metric_are_also_taken_together():
    before = [RowScore(0, "a", "exact", 0.0), RowScore(1, "b", "exact", 1.0), RowScore(1, "b", "loss", 1.0)]
    found = {(one.group, one.metric): one.before for one in compare(before, before)}
    assert found == {("a", "exact"): 0.0, ("b", "exact"): 1.0, ("b", "loss"): 1.0, ("all", "exact"): 0.5}


def test_rows_of_no_group_beside_others_are_told_apart_from_all_together():
    before = [RowScore(0, "a", "exact", 0.0), RowScore(1, "all", "exact", 1.0)]
    found = {one.group: one.before for one in compare(before, before)}
    assert found == {"a": 0.0, "ungrouped": 1.0, "all": 0.5}
    assert [one.group for one in compare(before[1:], before[1:])] == ["all"]


def test_the_same_seed_gives_the_same_interval():
    before, after = rows([0, 1, 0, 1, 1]), rows([1, 1, 0, 1, 0])
    assert compare(before, after, 3) == compare(before, after, 3)


def test_scores_of_different_rows_are_not_compared():
    with pytest.raises(ValueError, match="same rows"):
        compare(rows([0.0]), rows([0.0, 1.0]))
