"""Labelled logs: read as written, and refused by file, line and field."""

import gzip
import json
import math

import pytest

from serve_app.core import DataError
from serve_app.training.cascade import read_attempts, write_attempts
from tests.unit.confidence.synthetic import attempts


def line(**changes):
    fields = json.loads(attempts(1)[0].model_dump_json())
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value != "absent"})


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_rows_are_read_as_written_and_written_alike(tmp_path, name):
    rows = attempts(20)
    write_attempts(rows, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert read_attempts(tmp_path / name) == rows
    write_attempts(rows, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def test_a_token_that_is_no_number_survives(tmp_path):
    tokens = ((math.nan, -math.inf, 0.0, 1),)
    write_attempts(attempts(1, tokens=tokens), tmp_path / "log.jsonl")
    ((logprob, entropy, _, _),) = read_attempts(tmp_path / "log.jsonl")[0].tokens
    assert math.isnan(logprob)
    assert entropy == -math.inf


def test_the_least_row_needs_no_router_no_large_model_and_no_extras(tmp_path):
    optional = ("route", "route_probability", "route_margin", "gain", "adapter_version", "large_right", "large_usage")
    (tmp_path / "log.jsonl").write_text(line(**dict.fromkeys(optional, "absent")) + "\n\n")
    (found,) = read_attempts(tmp_path / "log.jsonl")
    assert found.route_score is None
    assert found.evidence().route is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"small_right": 2}, "small_right"),
        ({"small_right": None}, "small_right"),
        ({"colour": 1}, "colour"),
        ({"tokens": [[0, 0, 0]]}, "tokens.0.3"),
        ({"tokens": [["a", 0, 0, 1]]}, "tokens.0.0"),
        ({"small_usage": {"prompt_tokens": 1}}, "small_usage.completion_tokens"),
        ({"id": ""}, "id"),
        ({"small_right": math.nan}, "small_right"),
    ],
)
def test_a_bad_row_is_named_by_line_and_field(tmp_path, changes, field):
    (tmp_path / "log.jsonl").write_text(f"{line(id='first')}\n{line(**changes)}\n")
    with pytest.raises(DataError, match=rf"log\.jsonl:2: {field}: "):
        read_attempts(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sample_agreement": 0.5}, "sample_agreement: nothing is fitted on this yet"),
        ({"passage_score": None}, "passage_score: nothing is fitted on this yet"),
        ({"prompt_tokens": "absent"}, "prompt_tokens: missing; .* `headrace estimate --keep`"),
        ({"tokens": "absent"}, "tokens: missing; .* `headrace estimate --keep`"),
        ({"small_right": "absent"}, "small_right: missing; `headrace label`"),
    ],
)
def test_what_a_row_lacks_or_has_too_early_is_said_with_what_to_do(tmp_path, changes, sentence):
    (tmp_path / "log.jsonl").write_text(line(**changes) + "\n")
    with pytest.raises(DataError, match=rf"log\.jsonl:1: {sentence}"):
        read_attempts(tmp_path / "log.jsonl")


def test_texts_of_a_labelled_log_are_left_aside(tmp_path):
    texts = {"question": "?", "small_answer": "2", "large_answer": None, "reference": 2, "choices": [], "tests": ["a"]}
    (tmp_path / "log.jsonl").write_text(line(**texts, setup="") + "\n")
    assert read_attempts(tmp_path / "log.jsonl") == attempts(1)


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "log.jsonl").write_text(f"{line()}\n", encoding="utf-8-sig")
    assert [row.id for row in read_attempts(tmp_path / "log.jsonl")] == ["0/0"]


def test_an_id_given_twice_names_both_lines(tmp_path):
    (tmp_path / "log.jsonl").write_text(f"{line()}\n{line()}\n")
    with pytest.raises(DataError, match=r"log\.jsonl:2: id '0/0' is that of line 1"):
        read_attempts(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("log.jsonl", b"\n", "holds no rows"),
        ("log.jsonl", b"not json\n", r"log\.jsonl:1: row: "),
        ("log.jsonl.gz", b"not gzip", "cannot be read"),
        ("log.jsonl.gz", gzip.compress(b"a" * 999, mtime=0)[:-9], "cannot be read"),
        ("log.jsonl", b"\xff\xfe\n", r"log\.jsonl:1: "),
    ],
)
def test_what_is_no_log_is_a_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_attempts(tmp_path / name)


def test_evidence_after_some_tokens_is_what_the_rule_saw():
    (row,) = attempts(1, seed=3)
    seen = row.evidence(2)
    assert (len(seen.tokens), seen.finished) == (2, False)
    assert (seen.tokens[1].logprob, seen.tokens[1].token_id) == (row.tokens[1][0], row.tokens[1][3])
    assert (row.evidence().finished, len(row.evidence().tokens)) == (True, len(row.tokens))
    best, second = sorted(seen.route.probabilities.values(), reverse=True)
    assert (seen.route.label, best, best - second) == ("legal", 0.9, pytest.approx(0.8))
