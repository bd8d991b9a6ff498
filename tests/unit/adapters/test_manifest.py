import json

import pytest

from serve_app.adapters import AdapterManifest
from serve_app.adapters.manifest import read_manifest
from serve_app.core import AdapterError


def test_a_folder_without_manifest_has_the_empty_one(tmp_path):
    assert read_manifest(tmp_path) == AdapterManifest()


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"system_promt": "x"}, "system_promt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"base_digest": "abc"}, "base_digest"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": "END"}, "stop"),
        ({"licence": "MIT"}, "licence"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, record, key):
    (tmp_path / "headrace.json").write_text(json.dumps(record))
    with pytest.raises(AdapterError, match=rf"headrace.json: {key} is wrong"):
        read_manifest(tmp_path)


def test_invalid_json_and_huge_files_are_refused(tmp_path):
    (tmp_path / "headrace.json").write_text("{")
    with pytest.raises(AdapterError, match="the file is wrong"):
        read_manifest(tmp_path)
    (tmp_path / "headrace.json").write_text(" " * 300_000)
    with pytest.raises(AdapterError, match="over 262144 bytes"):
        read_manifest(tmp_path)
