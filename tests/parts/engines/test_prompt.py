import json
import shutil

import pytest

from serve_app.adapters import AdapterManifest
from serve_app.core import Call, EngineError, Message, RequestError, SamplingParams
from serve_app.engines.prompt import PromptEncoder


@pytest.fixture(scope="module")
def encoder(model_folder):
    return PromptEncoder(model_folder)


def text_of(encoder, messages, manifest=None):
    ids = encoder.encode(Call("call", SamplingParams(), messages), manifest, 1000)
    return encoder.tokenizer.decode(ids, skip_special_tokens=False)


def test_template_opens_the_assistants_turn(encoder):
    text = text_of(encoder, (Message("user", "hi"),))
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_manifests_system_prompt_comes_first_unless_the_request_has_one(encoder):
    manifest = AdapterManifest(system_prompt="be exact")
    assert text_of(encoder, (Message("user", "hi"),), manifest).startswith("<|im_start|>system\nbe exact<|im_end|>")
    own = text_of(encoder, (Message("system", "be brief"), Message("user", "hi")), manifest)
    assert "be exact" not in own and "be brief" in own


def test_end_tokens_come_from_the_configuration_the_tokenizer_and_the_usual_marks(encoder, model_folder, tmp_path):
    assert encoder.end_ids == {encoder.tokenizer.token_to_id(mark) for mark in ("<|im_end|>", "<|endoftext|>")}
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 65}))
    assert PromptEncoder(folder).end_ids == encoder.end_ids | {65}


def test_model_without_a_template_takes_raw_prompts_only(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    plain = PromptEncoder(folder)
    with pytest.raises(RequestError, match="no chat template") as error:
        text_of(plain, (Message("user", "hi"),))
    assert error.value.param == "messages"
    assert plain.encode(Call("call", SamplingParams(), prompt="hi"), None, 10)


def test_folder_without_a_tokenizer_is_one_clear_error(tmp_path):
    with pytest.raises(EngineError, match=r"the tokenizer in .* cannot be loaded"):
        PromptEncoder(tmp_path)
