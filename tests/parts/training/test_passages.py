"""Rows with passages before the question."""

import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from serve_app import catalogue
from serve_app.adapters import AdapterManifest
from serve_app.cli.adapters import app
from serve_app.cli.training_passages import plan as from_command_line
from serve_app.config import load
from serve_app.core import DataError, Message, Passage, Retrieval
from serve_app.passages import with_passages
from serve_app.training.dataset import Dataset, read_dataset
from serve_app.training.options import TrainingError
from serve_app.training.passages import PassagePlan, describe, put_before, right_among, rows_own
from serve_app.training.rows import GivenPassage, Row, read_rows

RIGHT = "the sky is blue"


def passage(number, text, document="page", num_tokens=10):
    return Passage(f"p{number}", document, "c", f"title {number}", text, 0, len(text), num_tokens, 1.0 / (1 + number))


FOUND = [passage(0, "grass is green"), passage(1, RIGHT), passage(2, "now please"), passage(3, "yes"), passage(4, "no")]


def row(question="what colour is the sky", completion="the sky is blue", **others):
    return Row((Message("user", question),), completion, **others)


def plan(found=FOUND, **others):
    return PassagePlan(lambda row, limit: found[:limit], "a test", **others)


def dataset(tmp_path, num_rows=1, **others):
    lines = [{"prompt": f"what colour is the sky {n}", "completion": RIGHT, **others} for n in range(num_rows)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "eval.jsonl").write_text(json.dumps({"prompt": "the sky is", "completion": "blue", **others}))
    return read_dataset(tmp_path / "rows.jsonl", tmp_path / "eval.jsonl")


def test_a_held_out_row_reads_exactly_what_serving_puts_before_it(tmp_path):
    asked = dataset(tmp_path)
    (held_out,) = put_before(asked, plan(limit=2)).evaluation
    assert held_out.messages == with_passages(asked.evaluation[0].messages, FOUND[:2])


def test_a_right_passage_further_down_is_pulled_up_for_training(tmp_path):
    mixed = put_before(dataset(tmp_path), plan(limit=1, without_right=0.0))
    assert RIGHT in mixed.train[0].messages[0].content
    assert RIGHT not in mixed.evaluation[0].messages[0].content


def test_rows_without_the_right_passage_have_distractors_only(tmp_path):
    mixed = put_before(dataset(tmp_path, num_rows=8), plan(limit=3, without_right=1.0))
    assert all(RIGHT not in one.messages[0].content for one in mixed.train)
    assert all("grass is green" in one.messages[0].content for one in mixed.train)
    assert (mixed.passages["rows_with_right"], mixed.passages["rows_with_distractors"]) == (0, 8)


def test_the_share_without_the_right_passage_is_about_what_was_asked(tmp_path):
    mixed = put_before(dataset(tmp_path, num_rows=200), plan(limit=3, without_right=0.25))
    assert 30 <= mixed.passages["rows_with_distractors"] <= 70
    first = Counter(one.messages[0].content.split("\n")[3].strip() for one in mixed.train)
    assert len(first) > 1, "the order of some rows is not the search's"


def test_the_same_seed_gives_the_same_prompts_and_another_seed_others(tmp_path):
    rows = dataset(tmp_path, num_rows=20)
    digests = [put_before(rows, plan(seed=seed)).passages["sha256"] for seed in (3, 3, 4)]
    assert digests[0] == digests[1] != digests[2]


@given(budget=st.integers(0, 200), limit=st.integers(1, 6), left_out=st.booleans())
def test_never_more_passages_or_tokens_than_planned(budget, limit, left_out):
    rows = Dataset([row()], [row()], AdapterManifest(), "0" * 64)
    wanted = plan(limit=limit, budget_tokens=budget, without_right=float(left_out))
    try:
        mixed = put_before(rows, wanted)
    except DataError:
        return  # nothing fits
    for one in mixed.train + mixed.evaluation:
        held = [passage for passage in FOUND if f" {passage.title}\n" in one.messages[0].content]
        assert len(held) <= limit
        assert sum(passage.num_tokens for passage in held) <= budget


def test_marks_of_the_rows_say_which_passage_is_right():
    given_rows = row(passages=(GivenPassage("a", RIGHT, False), GivenPassage("b", "see there", True)), source="f:1")
    found = rows_own(len)(given_rows, 4)
    assert [one.text for one in right_among(given_rows, found)] == ["see there"]


def test_a_named_document_alone_holds_the_answer():
    found = [passage(0, RIGHT, "other"), passage(1, RIGHT, "page"), passage(2, "grass", "page")]
    assert [one.passage_id for one in right_among(row(document="page"), found)] == ["p1"]


def test_rows_for_which_nothing_is_found_stay_as_they_are_and_are_counted(tmp_path):
    rows = dataset(tmp_path, num_rows=3)
    some = PassagePlan(lambda one, limit: FOUND if "1" in one.messages[0].content else [], "a test", without_right=0.0)
    mixed = put_before(rows, some)
    assert mixed.passages["rows_without"] == 2
    assert mixed.train[0] == rows.train[0]


def test_a_run_without_any_passage_is_refused(tmp_path):
    with pytest.raises(DataError, match="no training row got a passage"):
        put_before(dataset(tmp_path), plan(found=[]))


@pytest.mark.parametrize(
    ("values", "name"), [({"limit": 0}, "--passages"), ({"without_right": 1.5}, "--without-right")]
)
def test_a_bad_value_is_named(values, name):
    with pytest.raises(TrainingError, match=name):
        plan(**values)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"passages": "text"}, "passages must be a list"),
        ({"passages": [{"title": "t"}]}, "needs text"),
        ({"passages": [{"text": "t", "right": "yes"}]}, "right true or false"),
        ({"document": 3}, "document must be"),
    ],
)
def test_bad_passages_of_a_row_are_named_with_their_line(tmp_path, fields, named):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b", **fields}))
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{named}"):
        read_rows(tmp_path / "rows.jsonl")


class Store:
    """What the command line sees of a document store."""

    @classmethod
    def open(cls, settings, store, encoder_path, tokenizer_path):
        assert store == "documents"
        return cls()

    def version(self, collection):
        return f"v-of-{collection}"

    def search(self, search):
        assert (search.text, search.collection, search.key_id) == ("what colour is the sky", "skies", None)
        return Retrieval(tuple(FOUND[: search.limit]), 0.9, "v1")


def test_a_store_is_searched_as_in_serving_and_the_card_names_its_version(tiny_base, monkeypatch):
    monkeypatch.setitem(sys.modules, "serve_app.rag.store", SimpleNamespace(DocumentStore=Store))
    monkeypatch.setattr(catalogue, "resolve", lambda name: tiny_base)
    found = from_command_line("documents", "skies", tiny_base, None, 500, 0.1, 4)
    assert found.source == "the collection `skies`, version `v-of-skies`"
    assert (found.limit, found.budget_tokens, found.seed) == (load().rag.limit, 500, 4)
    assert found.find(row(), 2) == tuple(FOUND[:2])


def test_the_card_of_an_adapter_says_that_it_was_trained_with_passages(tiny_base, tmp_path):
    pytest.importorskip("torch")
    dataset(tmp_path, passages=[{"title": "sky", "text": RIGHT}, {"title": "grass", "text": "grass is green"}])
    command = [
        "train", "--data", str(tmp_path / "rows.jsonl"), "--eval", str(tmp_path / "eval.jsonl"), "--out",
        str(tmp_path / "sky"), "--base", str(tiny_base.path), "--rank", "2", "--dtype", "float32", "--device", "cpu",
        "--with-passages", "rows", "--passages", "2", "--without-right", "0", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert json.loads(result.stdout)["steps"] == 1
    metrics = json.loads((tmp_path / "sky" / "metrics.json").read_text())
    assert (metrics["data"]["passages"]["rows_with_right"], metrics["data"]["passages"]["limit"]) == (1, 2)
    assert describe(metrics["data"]["passages"]) in (tmp_path / "sky" / "README.md").read_text()
