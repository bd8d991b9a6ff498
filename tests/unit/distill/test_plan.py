"""A plan's file: relative paths, and mistakes named."""

import pytest

from serve_app.core import ConfigError
from serve_app.distill.plan import read_plan


def plan(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return read_plan(path)


def test_files_lie_beside_the_plan(tmp_path):
    found = plan(tmp_path, "name: support\nlabelled: rows.jsonl\nsource: {log: /x/log.jsonl}\n")
    assert found.labelled == str(tmp_path / "rows.jsonl")
    assert found.source.log == "/x/log.jsonl"
    assert found.regression is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base: x", "name"),
        ("name: a\ncolour: red", "colour"),
        ("name: a\nnear: {together: 0.95}", "together must not be greater"),
        ("name: a\nquality: {min_score: 2}", r"quality\.min_score"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, told):
    with pytest.raises(ConfigError, match=told):
        plan(tmp_path, text)
