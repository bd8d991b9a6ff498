import json

import pytest

from serve_app.core import DataError
from serve_app.training.dataset import first_of_each_group, read_dataset, write_prepared
from serve_app.training.rows import Row
from serve_app.training.specialists.public_sets import Prepared


def prepared(data_dir):
    (data_dir / "source.jsonl").write_text("{}")
    return Prepared(
        train=[{"prompt": "a", "completion": "b"}],
        evaluation=[{"prompt": "c", "completion": "d", "group": "g"}],
        system_prompt="Be brief.",
        max_tokens=7,
        description="A test.",
        licence=["None: MIT."],
        sources=["source.jsonl"],
        notes=["Nothing left out."],
    )


def test_a_prepared_folder_is_read_back_with_manifest_digests_and_notes(tmp_path):
    write_prepared(prepared(tmp_path), tmp_path, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert [row.messages[0].content for row in dataset.train + dataset.evaluation] == ["Be brief."] * 2
    assert (dataset.manifest.max_tokens, dataset.manifest.licence) == (7, ["None: MIT."])
    assert list(dataset.sources) == ["source.jsonl"]
    assert dataset.notes == ["Nothing left out."]


def test_a_rows_own_system_turn_is_kept(tmp_path):
    turns = [
        {"role": "system", "content": "own"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    dataset = read_dataset(tmp_path / "rows.jsonl", system_prompt="other")
    assert [message.content for message in dataset.train[0].messages] == ["own", "u"]


def test_a_held_out_row_that_is_also_trained_on_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}))
    with pytest.raises(DataError, match=r"rows.jsonl:1: this evaluation row is also a training row"):
        read_dataset(path, path)


def test_the_first_rows_of_each_group_are_kept_in_order():
    rows = [Row((), str(index), group=group) for index, group in enumerate("aabab")]
    assert [row.completion for row in first_of_each_group(rows, 2)] == ["0", "1", "2", "4"]
