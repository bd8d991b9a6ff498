import math
from pathlib import Path

import numpy as np
import pytest

from serve_app.adapters import folder as folders
from serve_app.adapters import load, shipped, shipped_names, source_folder
from serve_app.adapters.spec import check_name
from serve_app.config.nodes import AdapterSource
from serve_app.core import RESERVED_MODELS, AdapterError

from .conftest import lora_tensors

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


def test_a_plain_adapter_is_read_whole(make_adapter):
    spec = load(make_adapter("My-Adapter", manifest={"system_prompt": "Be brief.", "max_tokens": 5}))
    assert (spec.name, spec.rank, spec.alpha, spec.use_rslora) == ("my-adapter", 2, 4.0, False)
    assert spec.target_modules == ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
    assert spec.base_model == "HuggingFaceTB/Tiny-Base"
    assert (spec.manifest.system_prompt, spec.manifest.max_tokens) == ("Be brief.", 5)
    assert spec.scaling == 2.0
    assert not spec.verified


def test_rslora_scales_by_the_root_of_the_rank(make_adapter):
    assert load(make_adapter(config={"use_rslora": True})).scaling == pytest.approx(4 / math.sqrt(2))


def test_version_is_twelve_hex_digits_and_follows_config_weights_and_manifest_only(make_adapter):
    first = load(make_adapter("a")).version
    assert len(first) == 12
    assert int(first, 16) >= 0
    assert load(make_adapter("b")).version == first
    assert load(make_adapter("c", config={"lora_alpha": 5})).version != first
    assert load(make_adapter("d", manifest={"max_tokens": 5})).version != first
    assert load(make_adapter("e", tensors=lora_tensors(dtype="float16"))).version != first
    noted = make_adapter("f")
    (noted / "README.md").write_text("a card")
    assert load(noted).version == first


def test_pickled_weights_are_refused_unread(make_adapter):
    folder = make_adapter()
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="pickle"):
        load(folder)


def test_missing_weights_are_named(make_adapter):
    folder = make_adapter()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"adapter_model.safetensors is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("base_model.model.model.embed_tokens.lora_embedding_A", "embedding"),
        ("base_model.model.lm_head.lora_A.weight", "embedding"),
        ("base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight", "qkv_proj is adapted"),
        (f"{Q0}.lora_magnitude_vector", "no LoRA matrix"),
        ("model.layers.0.self_attn.q_proj.weight", "no LoRA matrix"),
    ],
)
def test_a_tensor_that_is_not_served_is_refused_by_its_name(make_adapter, key, said):
    tensors = lora_tensors() | {key: np.zeros((2, 8), dtype=np.float32)}
    with pytest.raises(AdapterError, match=said):
        load(make_adapter(tensors=tensors))


def test_a_matrix_without_its_partner_is_refused(make_adapter):
    tensors = lora_tensors()
    del tensors[f"{Q0}.lora_B.weight"]
    with pytest.raises(AdapterError, match="only one of lora_A and lora_B"):
        load(make_adapter(tensors=tensors))


def test_a_rank_that_differs_from_the_configuration_is_refused(make_adapter):
    with pytest.raises(AdapterError, match="do not fit rank 3"):
        load(make_adapter(config={"r": 3}))


def test_not_a_number_in_the_weights_is_refused(make_adapter):
    tensors = lora_tensors()
    tensors[f"{Q0}.lora_A.weight"][1, 1] = np.nan
    with pytest.raises(AdapterError, match=r"q_proj.lora_A.weight holds NaN"):
        load(make_adapter(tensors=tensors))


@pytest.mark.parametrize("name", RESERVED_MODELS)
def test_reserved_names_are_refused(make_adapter, name):
    with pytest.raises(AdapterError, match="reserved"):
        load(make_adapter(name))


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "a/b", ".a", "-a", "a" * 65, "ä", "a\n"])
def test_malformed_names_are_refused(name):
    with pytest.raises(AdapterError, match="not allowed"):
        check_name(name)


def test_a_name_may_be_given_instead_of_the_folders(make_adapter):
    assert load(make_adapter("base"), name="mine").name == "mine"


def test_a_path_that_is_no_folder_is_said(tmp_path):
    with pytest.raises(AdapterError, match="is no folder"):
        load(tmp_path / "nowhere")


def test_an_unknown_shipped_adapter_is_refused_with_the_known_ones():
    with pytest.raises(AdapterError, match="'poetry' is shipped"):
        shipped("poetry")


@pytest.mark.parametrize("name", ["code", "legal", "medical", "support"])
def test_shipped_adapters_load_and_say_what_they_need_to(name):
    spec = load(shipped(name))
    assert name in shipped_names()
    assert spec.base_digest == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert spec.base_model == "smollm2-135m-instruct"
    assert spec.manifest.system_prompt
    assert spec.manifest.max_tokens
    assert spec.manifest.licence
    assert sum(file.stat().st_size for file in spec.path.iterdir()) < 12_000_000
    assert (spec.path / "README.md").exists()
    if name in ("legal", "medical"):
        assert f"not {name} advice" in spec.manifest.description


def test_only_served_modules_are_named():
    assert tuple(sorted(folders.SERVED_MODULES)) == folders.SERVED_MODULES


def test_one_matrix_under_two_names_is_refused(make_adapter):
    tensors = lora_tensors()
    tensors[f"{Q0}.lora_A.default.weight"] = tensors[f"{Q0}.lora_A.weight"]
    with pytest.raises(AdapterError, match="has two lora_A"):
        load(make_adapter(tensors=tensors))


def test_an_adapter_of_the_settings_is_a_shipped_one_or_a_folder_which_may_be_called_shipped(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source_folder(AdapterSource(path="shipped:legal")) == shipped("legal")
    assert source_folder(AdapterSource(path="shipped")) == Path("shipped")
    assert source_folder(AdapterSource(path="~/mine")) == tmp_path / "mine"
    with pytest.raises(AdapterError, match="'poetry' is shipped"):
        source_folder(AdapterSource(path="shipped:poetry"))
