import json

import pytest

from serve_app.core import DataError, Usage
from serve_app.labelling.requests import read_requests

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How tall is Etna?"}]
COMPLETION = {
    "choices": [{"message": {"role": "assistant", "content": "3,403 m."}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}},
}


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def one(tmp_path, row):
    return read_requests(write(tmp_path / "log.jsonl", row)).requests[0]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ASK, "response": "3,403 m."},
        {"messages": ASK, "response": {"role": "assistant", "content": "3,403 m."}},
        {"messages": ASK, "response": {"message": {"content": [{"type": "text", "text": "3,403 m."}]}}},
        {"messages": [*ASK, {"role": "assistant", "content": "3,403 m."}]},
        {"request": {"messages": ASK, "model": "gpt"}, "response": COMPLETION},
        {"input": ASK, "output": {"content": "3,403 m."}},
        {"input": {"messages": ASK}, "output": "3,403 m."},
        {"custom_id": "a", "body": {"messages": ASK}, "response": {"status_code": 200, "body": COMPLETION}},
    ],
)
def test_the_common_shapes_are_read(tmp_path, row):
    found = one(tmp_path, row)
    assert found.response == "3,403 m."
    assert found.body == {"messages": ASK}
    assert found.question == "How tall is Etna?"


def test_usage_comes_from_the_completion_or_stands_beside_it(tmp_path):
    assert one(tmp_path, {"request": {"messages": ASK}, "response": COMPLETION}).usage == Usage(20, 8, 5)
    beside = {"messages": ASK, "response": "x", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    assert one(tmp_path, beside).usage == Usage(3, 0, 1)
    assert one(tmp_path, {"messages": ASK, "response": "x"}).usage is None


def test_what_is_asked_is_kept_and_how_it_is_sent_is_not(tmp_path):
    row = {"messages": ASK, "temperature": 0.5, "tools": [{}], "stream": True, "model": "gpt", "cost": 3, "id": "x7"}
    found = one(tmp_path, row)
    assert found.body == {"messages": ASK, "temperature": 0.5, "tools": [{}]}
    assert found.id == "x7"
    nested = one(tmp_path, {"request": {"messages": ASK, "odd": 1, "n": 3}})
    assert nested.body == {"messages": ASK, "odd": 1}
    assert nested.id == "line-1"


def test_a_batch_is_joined_with_its_output(tmp_path):
    log = write(tmp_path / "in.jsonl", *({"custom_id": name, "body": {"messages": ASK}} for name in "abc"))
    good = {"custom_id": "a", "response": {"status_code": 200, "body": COMPLETION}, "error": None}
    bad = {"custom_id": "b", "response": {"status_code": 500, "body": {}}, "error": None}
    out = write(tmp_path / "out.jsonl", bad, good)
    assert [found.response for found in read_requests(log, out).requests] == ["3,403 m.", None, None]
    write(out, {"id": "batch"})
    with pytest.raises(DataError, match=r"out\.jsonl:1: custom_id"):
        read_requests(log, out)


def test_an_answer_without_text_is_none(tmp_path):
    calls = {"choices": [{"message": {"content": None, "tool_calls": [{}]}}]}
    assert one(tmp_path, {"messages": ASK, "response": calls}).response is None


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("nonsense", "not valid JSON"),
        ({"prompt": "x"}, "messages: missing"),
        ({"messages": []}, "messages: must be a list"),
        ({"messages": ["hi"]}, r"messages\.0: must be an object"),
        ({"request": {"messages": [{"content": "x"}]}}, r"request\.messages\.0: must be an object with role"),
        ({"request": "hi"}, "request: must be an object with messages"),
        ({"messages": ASK, "response": 5}, "response: must be a text"),
        ({"messages": ASK, "response": {"text": "x"}}, r"response: has no choices\.0\.message\.content"),
        ({"messages": ASK, "response": {"choices": []}}, r"response\.choices"),
        ({"messages": ASK, "usage": {"prompt_tokens": 3}}, "usage: must hold prompt_tokens"),
    ],
)
def test_a_bad_line_is_named_with_its_field_and_without_its_text(tmp_path, row, fault):
    path = write(tmp_path / "log.jsonl", {"messages": ASK}, "", row)
    with pytest.raises(DataError, match=rf"log\.jsonl:3: .*{fault}|log\.jsonl:3: {fault}") as caught:
        read_requests(path)
    assert "Etna" not in str(caught.value)


def test_a_sample_depends_on_the_seed_alone_and_keeps_the_order(tmp_path):
    path = write(tmp_path / "log.jsonl", *({"messages": [{"role": "user", "content": str(n)}]} for n in range(50)))
    first, again, other = (read_requests(path, limit=10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.num_lines == 50
    lines = [found.line for found in first.requests]
    assert lines == sorted(lines)
    assert len(lines) == 10
    assert len(read_requests(path, limit=99).requests) == 50
