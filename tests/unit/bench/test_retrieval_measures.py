"""Recall and nDCG on rankings that can be checked by hand."""

from bench.rag.retrieval import ndcg, recall
from bench.rag.sets import Question

QUESTIONS = [Question("a", "test", frozenset({"x"})), Question("b", "test", frozenset({"y", "z"}))]


def test_recall_is_the_share_of_a_questions_documents():
    assert recall([["x"], ["q", "y"]], QUESTIONS, 10) == 0.75
    assert recall([["q", "x"], ["q", "y"]], QUESTIONS, 1) == 0


def test_ndcg_is_one_for_the_best_order_and_falls_with_the_place():
    assert ndcg([["x"], ["z", "y"]], QUESTIONS) == 1
    assert ndcg([["q", "x"], ["z", "y"]], QUESTIONS) == round((1 / 1.5849625 + 1) / 2, 4)
