"""The policy file: read as written, refused with the field's name where it is damaged."""

import json

import pytest
from pydantic import ValidationError

from serve_app.confidence.policy import read, write
from serve_app.core import DataError
from tests.unit.confidence.synthetic import early, policy, route_policy


def test_it_is_read_as_written_and_written_alike(tmp_path):
    found = policy(checkpoints=(4, 8))
    write(found, tmp_path / "new" / "one.json")
    write(found, tmp_path / "two.json")
    assert read(tmp_path / "new" / "one.json") == found
    assert (tmp_path / "new" / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "has format 2 and this version reads 1"),
        ({"colour": 1}, "damaged \\(colour"),
        ({"decide": "prefix"}, "decide: full has no checkpoints"),
        ({"target": "best"}, "damaged \\(target"),
        ({"routes": [{}]}, "damaged \\(routes.0.route"),
    ],
)
def test_damage_is_a_sentence_that_names_the_field(tmp_path, change, sentence):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({**policy().model_dump(), **change}))
    with pytest.raises(DataError, match=sentence):
        read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{not json"])
def test_what_is_no_policy_is_said_so(tmp_path, text):
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(DataError, match="cascade fit"):
        read(tmp_path / "policy.json")


def test_a_missing_file_and_a_full_disk_are_sentences(tmp_path):
    with pytest.raises(DataError, match="Cannot read the cascade policy"):
        read(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write the cascade policy"):
        write(policy(), tmp_path / "file" / "policy.json")


def test_a_feature_of_another_version_is_refused(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy().model_dump()).replace("mean_logprob", "colour"))
    with pytest.raises(DataError, match="unknown features \\(colour\\)"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoints": (8, 4), "decide": "prefix"},
        {"routes": (route_policy(), route_policy())},
        {"routes": (route_policy(early=(early(),)),)},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change):
    with pytest.raises(ValidationError):
        policy(**change)


def test_thresholds_must_fall():
    with pytest.raises(ValidationError, match="must fall"):
        route_policy(thresholds=(0.8, 0.9))


def test_tightening_climbs_the_sequence_and_ends_with_escalating_all():
    found, seen = route_policy(), []
    while found.threshold is not None:
        seen.append(found.threshold)
        found = found.tightened()
    assert seen == [0.8, 0.9, 0.95]
    assert found.tightened().threshold is None


def test_a_change_reaches_every_version_of_one_route_and_no_other():
    found = policy(route_policy(), route_policy(adapter_version="v2"), route_policy(route="code"))
    assert found.find("legal", "v2").threshold == 0.8
    changed = found.changed("legal", lambda route: route.escalating())
    thresholds = [changed.find(*key).threshold for key in (("legal", "v1"), ("legal", "v2"), ("code", "v1"))]
    assert thresholds == [None, None, 0.8]
    assert found.find("legal", "v1").threshold == 0.8
