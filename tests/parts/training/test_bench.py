"""bench.training's contenders start from the same model, and its own rows can be read."""

import pytest

torch = pytest.importorskip("torch")

from bench import training  # noqa: E402  (torch first)
from serve_app.training.base import load_trainee  # noqa: E402


@pytest.fixture
def rows(tiny_base, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "DATA", tmp_path / "nowhere")
    return training.rows_of("code", load_trainee(tiny_base.path, training.OPTIONS).tokenizer)


def test_without_public_data_rows_are_made_and_the_reason_is_said(rows):
    train, held_out, where = rows
    assert (len(train), len(held_out)) == (2000, training.HELD_OUT_ROWS)
    assert "HEADRACE_DATA" in where


def test_all_contenders_have_the_same_loss_at_first_and_learn(tiny_base, rows):
    first = None
    for name in training.CONTENDERS:
        contender = training.make(name, tiny_base.path)
        before = training.held_out_loss(contender.trainee, rows[1][:4])
        losses = [contender.step(rows[0][:4]) for _ in range(5)]
        first = first or losses[0]
        assert losses[0] == pytest.approx(first, rel=0.02)
        assert losses[-1] < losses[0]
        assert training.held_out_loss(contender.trainee, rows[1][:4]) != before
