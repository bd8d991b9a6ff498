"""What is stored of a version's checks: each with its finding, the first that fails with the sentence."""

import json

import numpy as np
import pytest

from serve_app.adapters import content_digest
from serve_app.adapters.registry.verifying import ArtefactLimits, verify_artefact
from serve_app.core import AdapterError

from ..conftest import BASE_CONFIG, BASE_DIGEST, lora_tensors

LIMITS = ArtefactLimits(max_bytes=2**20, max_rank=16)
CHECKS = ["size", "variant", "manifest", "rank", "format", "finite", "base", "shapes"]


def verified(folder, base, limits=LIMITS):
    return verify_artefact(folder, "tiny", base, limits, "upload", "ada", clock=lambda: 7.0)


def test_a_good_version_has_every_check(make_adapter, base):
    folder = make_adapter(manifest={"base_digest": BASE_DIGEST})
    found = verified(folder, base)
    assert (found.state, found.rank, found.base_verified) == ("verified", 2, True)
    assert (found.digest, found.version) == (content_digest(folder), content_digest(folder)[:12])
    assert (found.created_at_s, found.created_by, found.source) == (7.0, "ada", "upload")
    assert [one["check"] for one in found.report["checks"]] == CHECKS
    assert all(one["passed"] for one in found.report["checks"])
    assert "reason" not in found.report
    assert json.loads(json.dumps(found.report, allow_nan=False)) == found.report


def nan_tensors():
    tensors = lora_tensors()
    tensors[min(tensors)][0, 0] = np.nan
    return tensors


@pytest.mark.parametrize(
    ("check", "made", "limits", "sentence"),
    [
        ("size", {}, ArtefactLimits(100, 16), "larger than"),
        ("variant", {"config": {"use_dora": True}}, LIMITS, "DoRA"),
        ("manifest", {"manifest": {"temperature": 9}}, LIMITS, "temperature"),
        ("rank", {}, ArtefactLimits(2**20, 1), "rank 2 is over 1"),
        ("format", {"config": {"r": 4}}, LIMITS, "do not fit rank 4"),
        ("finite", {"tensors": nan_tensors()}, LIMITS, "NaN or infinity"),
        ("base", {"manifest": {"base_digest": "b" * 64}}, LIMITS, "trained on the base"),
        ("shapes", {"tensors": lora_tensors(layers=3)}, LIMITS, "which the base does not have"),
    ],
)
def test_a_check_that_fails_rejects_with_its_sentence(check, made, limits, sentence, make_adapter, base):
    folder = make_adapter(**made)
    found = verified(folder, base, limits)
    assert found.state == "rejected"
    assert sentence in found.report["reason"]
    assert str(folder) not in found.report["reason"]
    assert [one["check"] for one in found.report["checks"]] == CHECKS[: CHECKS.index(check) + 1]
    assert found.digest == content_digest(folder)


def test_an_override_takes_another_base_if_the_shapes_fit(make_adapter, base):
    folder = make_adapter(manifest={"base_digest": "b" * 64})
    found = verified(folder, base, ArtefactLimits(2**20, 16, base_override=True))
    assert (found.state, found.base_verified, found.base_override) == ("verified", False, True)
    (base.path / "config.json").write_text(json.dumps(BASE_CONFIG | {"hidden_size": 16, "head_dim": 4}))
    assert verified(folder, base, ArtefactLimits(2**20, 16, base_override=True)).state == "rejected"


def test_without_a_base_the_rest_is_checked(make_adapter):
    found = verified(make_adapter(), None)
    assert (found.state, found.base_verified) == ("verified", False)
    assert [one["check"] for one in found.report["checks"]] == CHECKS[:-2]


@pytest.mark.parametrize("damage", ["adapter_config.json", "adapter_model.safetensors", "headrace.json"])
def test_damaged_files_are_rejected_and_not_raised(damage, make_adapter, base):
    folder = make_adapter()
    (folder / damage).write_bytes(b"\xff\xfe not what it says")
    assert verified(folder, base).state == "rejected"
    (folder / damage).unlink()
    assert verified(folder, base).state == ("verified" if damage == "headrace.json" else "rejected")


def test_a_pickle_is_named(make_adapter, base):
    folder = make_adapter()
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "pickle" in verified(folder, base).report["reason"]


def test_a_reserved_name_is_an_error(make_adapter, base):
    with pytest.raises(AdapterError, match="reserved"):
        verify_artefact(make_adapter(), "auto", base, LIMITS, "upload", "ada")
