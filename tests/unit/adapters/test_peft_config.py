import json

import pytest

from serve_app.adapters import load
from serve_app.core import AdapterError


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"use_qalora": True}, "QALoRA"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"layer_replication": [[0, 2]]}, "layer replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"lora_bias": True}, "lora_bias"),
        ({"alora_invocation_tokens": [3]}, "activated LoRA"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"use_rslora": "true"}, "use_rslora is 'true'"),
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"peft_type": None}, "only LORA"),
        ({"a_future_feature": {"x": 1}}, "a_future_feature"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": 513}, "r is 513"),
        ({"lora_alpha": "8"}, "lora_alpha is '8'"),
        ({"lora_alpha": -1}, "lora_alpha is -1"),
        ({"base_model_name_or_path": 7}, "base_model_name_or_path"),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(make_adapter, config, said):
    folder = make_adapter(config=config)
    with pytest.raises(AdapterError) as refused:
        load(folder)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
        {"a_future_feature": None, "another": False, "a_third": []},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"peft_version": "0.99", "task_type": "CAUSAL_LM"},
    ],
)
def test_settings_without_effect_on_serving_are_accepted(make_adapter, config):
    assert load(make_adapter(config=config)).rank == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '"LORA"'])
def test_damaged_configuration_is_one_sentence(make_adapter, text):
    folder = make_adapter()
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        load(folder)


def test_folder_without_configuration_is_no_adapter(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AdapterError, match="no PEFT adapter folder"):
        load(tmp_path / "empty")


def test_huge_configuration_is_not_parsed(make_adapter):
    folder = make_adapter()
    (folder / "adapter_config.json").write_text(json.dumps({"x": "y" * 2_000_000}))
    with pytest.raises(AdapterError, match="over 1048576 bytes"):
        load(folder)


def test_json_nested_without_end_is_one_sentence(make_adapter):
    folder = make_adapter()
    (folder / "adapter_config.json").write_text("[" * 100_000)
    with pytest.raises(AdapterError, match="not readable JSON"):
        load(folder)
