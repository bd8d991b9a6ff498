"""The table of answers with and without documents: its task, its arithmetic, its words."""

import json

import pytest

from bench.rag.kinds import BESIDE, BEST, CLOSED, COMMITTED, GROUNDED, KINDS, LARGE, SMALL, Asked, Kind
from bench.rag.table import by_hit, difference, interval, scored, table_row
from bench.rag.task import REFERENCE_WORDS, SYSTEM_PROMPT, beginning, pages, questions
from bench.readme_figures import documents
from serve_app.adapters.manifest import read_manifest
from serve_app.core import Passage
from serve_app.distill.answers import Generated
from serve_app.passages import with_passages
from serve_app.training.passages import right_among

ANSWER = "Mumps is a viral infection. " * 30
PASSAGE = Passage("p", "CDC/mumps", "medquad", "Mumps > Information", ANSWER, 0, len(ANSWER), 20, 1.0)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "medquad").mkdir()
    for name, focus in (("train", "Measles"), ("val", "Rubella"), ("test", "Mumps")):
        rows = [
            {"question": f"What is (are) {focus} ?", "answer": ANSWER.replace("Mumps", focus), "qtype": "information"},
            {"question": f"How is {focus} treated? ?", "answer": "With rest.", "qtype": "treatment"},
        ]
        lines = [json.dumps(row | {"focus": focus, "source": "CDC"}) + "\n" for row in rows]
        (tmp_path / "medquad" / f"{name}.jsonl").write_text("".join(lines))
    return tmp_path


def asked(data):
    (question,) = [one for one in questions(data, "test") if "treated" not in one.text]
    return Asked(question, (PASSAGE,), (PASSAGE,))


def test_the_knowledge_base_has_a_page_for_each_topic_without_the_questions(data):
    found = pages(data)
    assert [page.id for page in found] == ["CDC/measles", "CDC/rubella", "CDC/mumps"]
    assert found[2].text.startswith("# Mumps\n\n## Information\n\nMumps is")
    assert not any("?" in page.text for page in found)


def test_a_question_asks_once_and_its_reference_is_whole_sentences(data):
    one = asked(data).question
    assert one.text == "What is (are) Mumps?"
    assert one.page == "CDC/mumps"
    assert one.reference.endswith("infection.")
    assert len(one.reference.split()) == REFERENCE_WORDS
    assert len(beginning("word " * 100).split()) == REFERENCE_WORDS


def test_the_passage_of_the_page_that_answers_counts_as_right(data):
    one = asked(data)
    assert right_among(one.question.row, one.found) == [PASSAGE]


def test_each_kind_reads_what_serving_puts_before_its_question(data):
    one = asked(data)
    assert one.messages(Kind("base", SMALL)) == one.question.messages
    assert one.question.messages[0].content == SYSTEM_PROMPT
    assert one.messages(Kind("RAG", SMALL, None, "found")) == with_passages(one.question.messages, [PASSAGE])


def test_a_row_of_the_table_has_quality_with_its_interval_and_the_demos_price(data):
    given = [Generated(ANSWER, (), 500, 60, 0.1)] * 4
    scores = scored([asked(data)] * 4, given)
    small = table_row(Kind("RAG", SMALL, None, "found"), scores, given, search_s=0.0)
    large = table_row(Kind("large + RAG", LARGE, None, "found"), scores, given, search_s=0.0)
    assert small["low_95"] == small["rouge_l"] == small["high_95"]
    assert large["usd_per_1000"] > 2 * small["usd_per_1000"] > 0


def test_a_search_costs_its_core_seconds(data):
    given = [Generated(ANSWER, (), 500, 60, 0.1)]
    kind = Kind("RAG", SMALL, None, "found")
    free, paid = (table_row(kind, [0.5], given, search_s)["usd_per_1000"] for search_s in (0.0, 3.6))
    assert paid - free == pytest.approx(3.6 * 0.04 / 3600 * 1000, rel=1e-3)


def test_differences_are_paired():
    worse, better = [0.1, 0.5, 0.9, 0.3] * 10, [0.2, 0.6, 1.0, 0.4] * 10
    found = difference(worse, better)
    assert (found["by"], found["low_95"], found["high_95"]) == (0.1, 0.1, 0.1)
    low, high = interval(worse)
    assert low < 0.45 < high


def test_the_adapters_differ_in_passages_and_not_in_rows_tokens_or_prompt():
    closed, grounded = (json.loads((COMMITTED / name / "metrics.json").read_bytes()) for name in (CLOSED, GROUNDED))
    assert closed["options"] == grounded["options"]
    assert closed["data"]["train_sha256"] == grounded["data"]["train_sha256"]
    assert closed["training"]["tokens"] == pytest.approx(grounded["training"]["tokens"], rel=0.05)
    assert closed["data"]["passages"] is None
    assert grounded["data"]["passages"]["rows_with_distractors"] > 0
    for name in (CLOSED, GROUNDED):
        assert read_manifest(COMMITTED / name).system_prompt == SYSTEM_PROMPT


def test_answers_count_apart_where_the_search_missed(data):
    found = asked(data)
    missed = Asked(found.question, (), found.right)
    parts = by_hit([found, missed, found], {kind.name: [1.0, 0.0, 0.5] for kind in KINDS})
    assert (parts["hits"], parts["misses"]) == (2, 1)
    assert (parts["found"]["RAG"], parts["missed"]["RAG"]) == (0.75, 0.0)


def test_the_readme_says_by_how_much_fine_tuned_with_documents_is_better():
    row = {"model": SMALL, "adapter": None, "rows": 9, "rouge_l": 0.4, "low_95": 0.3, "high_95": 0.5}
    row |= {"prompt_tokens": 400.0, "completion_tokens": 50.0, "usd_per_1000": 0.01, "latency_p50_s": 1.5}
    by = {"by": 0.1, "low_95": 0.05, "high_95": 0.15}
    found = {
        "chunks": 100_000, "retrieval_p50_ms": 5.0, "recall_at_10_hybrid": 0.9, "recall_at_10_vector": 0.8,
        "recall_at_10_text": 0.7, "quality": [row | {"kind": one.name, "passages": one.context} for one in KINDS],
        "best_small_by": {one.name: by for one in (*KINDS, *BESIDE) if one.name != BEST},
        "search": {"recall_at_3": 0.95}, "task": {"set": "MedQuAD", "passages": 3, "training_tokens": 1000},
    }  # fmt: skip
    text = documents.rag(found, "Somewhere")
    assert "p50 5.0 ms" in text
    assert "the right one among them for 95%" in text
    assert "RAG by +0.100 [+0.050, +0.150]" in text
    assert "right passage given" not in text
