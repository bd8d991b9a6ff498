import numpy as np
import pytest

from serve_app.core import DataError
from serve_app.labelling.scorers import Item, agreement, scorer


def agree(small, large, **options):
    return scorer("agreement", **options).judge(Item("?", small, large_answer=large))


def test_equal_without_case_and_punctuation_agrees_by_every_measure():
    for by in ("equal", "f1", "cosine"):
        assert agree("The Earth.", "earth", by=by) == 1


def test_equal_takes_nothing_else_and_f1_takes_near_texts():
    small, large = "Call a doctor if the fever lasts", "Call the doctor when a fever lasts"
    assert agree(small, large, by="equal") == 0
    assert agree(small, large, by="f1") == 1
    assert agree(small, large, by="f1", threshold=0.95) == 0
    assert agree("Take rest", large, by="f1") == 0


def test_texts_that_share_words_and_contradict_each_other_disagree():
    assert agree("Yes, the clause caps the liability.", "No, the clause caps the liability.") == 0
    assert agree("The notice period is 30 days.", "The notice period is 60 days.") == 0
    assert agree("The notice period is 30 days.", "The notice period is 30 full days.") == 1


def test_no_answer_does_not_agree_with_an_answer_of_punctuation():
    assert agree("", "?!") == 0
    assert agree("", "") == 1


class TwoVectors:
    def encode(self, texts):
        table = {"near": [1.0, 0.0], "close": [0.9, 0.436], "far": [0.0, 1.0]}
        return np.array([table[text] for text in texts])


async def test_cosine_compares_sentence_vectors(monkeypatch):
    monkeypatch.setattr(agreement, "_encoder", lambda name: TwoVectors())
    by_cosine = scorer("agreement", by="cosine")
    assert await by_cosine.score(Item("?", "near", large_answer="close")) == 1
    assert await by_cosine.score(Item("?", "near", large_answer="far")) == 0


async def test_a_missing_large_answer_is_named():
    with pytest.raises(DataError, match="large_answer"):
        await scorer("agreement").score(Item("?", "x"))
