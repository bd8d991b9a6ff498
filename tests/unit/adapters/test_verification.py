import json
from dataclasses import replace

import pytest

from serve_app.adapters import load, verify
from serve_app.core import AdapterError

from .conftest import BASE_CONFIG, BASE_DIGEST, lora_tensors


def test_the_same_digest_makes_it_verified(make_adapter, base):
    assert verify(load(make_adapter(manifest={"base_digest": BASE_DIGEST})), base).verified


def test_another_digest_is_an_error_that_names_both(make_adapter, base):
    spec = load(make_adapter(manifest={"base_digest": "b" * 64}))
    with pytest.raises(AdapterError, match="trained on the base bbbbbbbbbbbb, and 'tiny-base' is aaaaaaaaaaaa"):
        verify(spec, base)


def test_an_override_accepts_another_digest_unverified(make_adapter, base):
    spec = load(make_adapter(manifest={"base_digest": "b" * 64}))
    assert not verify(spec, base, base_override=True).verified


@pytest.mark.parametrize("name", ["tiny-base", "HuggingFaceTB/Tiny-Base", "/models/tiny-base/"])
def test_without_a_digest_a_matching_name_passes_unverified(make_adapter, base, name):
    spec = load(make_adapter(config={"base_model_name_or_path": name}))
    assert not verify(spec, base).verified


@pytest.mark.parametrize("name", ["other-base", None])
def test_without_digest_and_name_it_needs_the_override(make_adapter, base, name):
    spec = load(make_adapter(config={"base_model_name_or_path": name}))
    with pytest.raises(AdapterError, match="--base-override"):
        verify(spec, base)
    assert not verify(spec, base, base_override=True).verified


def test_shapes_are_checked_even_under_the_override(make_adapter, base):
    (base.path / "config.json").write_text(json.dumps(BASE_CONFIG | {"hidden_size": 16, "head_dim": 4}))
    with pytest.raises(AdapterError, match="of 12 to 8, the base 12 to 16"):
        verify(load(make_adapter()), base, base_override=True)


def test_a_layer_that_the_base_lacks_is_refused(make_adapter, base):
    with pytest.raises(AdapterError, match=r"layers\.2\.\S+, which the base does not have"):
        verify(load(make_adapter(tensors=lora_tensors(layers=3))), base)


def test_an_adapter_may_cover_some_layers_only(make_adapter, base):
    assert not verify(load(make_adapter(tensors=lora_tensors(layers=1))), base).verified


def test_a_base_without_a_readable_config_is_said(make_adapter, base, tmp_path):
    with pytest.raises(AdapterError, match="does not describe a decoder"):
        verify(load(make_adapter()), replace(base, path=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "module", ["layers.0.self_attn.gate_proj", "model.model.layers.0.mlp.gate_proj", "layers.00.mlp.up_proj"]
)
def test_a_module_where_no_decoder_has_one_is_refused(make_adapter, base, module):
    plain = lora_tensors(layers=1)
    moved = {
        f"base_model.model.model.{module}.lora_{side}.weight": plain[
            f"base_model.model.model.layers.0.mlp.gate_proj.lora_{side}.weight"
        ]
        for side in "AB"
    }
    with pytest.raises(AdapterError, match="which the base does not have"):
        verify(load(make_adapter(tensors=moved)), base)
