"""The pulled models are whole, speak their chat format, and the small encoder file keeps the large one's vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app import catalogue
from serve_app.encoder import FP32_FILE, Encoder

INSTRUCT = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")
ENCODER = "all-minilm-l6-v2"
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi 2024\n   1. x"}]

ModelDir = Callable[[str], Path]


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("alias", [*INSTRUCT, ENCODER])
def test_pulled_files_are_what_their_record_says(model_dir: ModelDir, alias: str) -> None:
    artefact = catalogue.entry(alias).artefact
    files = catalogue.verify(alias)
    assert files.path == model_dir(alias)
    assert artefact is not None
    assert files.source_digest == artefact.sha256


@pytest.mark.parametrize("alias", INSTRUCT)
def test_rendered_chat_is_the_models_format_with_no_second_start_token(model_dir: ModelDir, alias: str) -> None:
    tokenizer = tokenizer_of(model_dir(alias))
    text = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi 2024\n   1. x<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer(text)["input_ids"]
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 3
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(("alias", "end_ids"), zip(INSTRUCT, ([2, 0], [151645, 151643]), strict=True))
def test_answers_end_at_either_end_token(model_dir: ModelDir, alias: str, end_ids: list[int]) -> None:
    folder = model_dir(alias)
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == end_ids
    assert tokenizer_of(folder).convert_ids_to_tokens(end_ids) == ["<|im_end|>", "<|endoftext|>"]


def test_tokenizers_cut_text_as_the_models_were_trained(model_dir: ModelDir) -> None:
    """transformers loses both rules when it reads a GGUF: digits apart first (SmolLM2), NFC first (Qwen)."""
    small, large = (tokenizer_of(model_dir(alias)) for alias in INSTRUCT)
    assert small.tokenize("\n   1. x") == ["ĊĠĠĠ", "1", ".", "Ġx"]
    assert large.tokenize("e\u0301") == large.tokenize("\u00e9")


def test_small_model_in_bf16_answers_a_question_and_ends(model_dir: ModelDir) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = model_dir(INSTRUCT[0])
    tokenizer = tokenizer_of(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert model.dtype == torch.bfloat16
    talk = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
    answer = tokenizer.decode(ids[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in answer
    assert ids[-1] in (2, 0)


def test_small_encoder_file_keeps_the_vectors_of_the_full_one(model_dir: ModelDir, data_dir: Path) -> None:
    lines = (data_dir / "routing" / "test.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines[:: len(lines) // 100]]
    small, full = Encoder(model_dir(ENCODER)), Encoder(model_dir(ENCODER), file=FP32_FILE)
    cosines = (small.encode(texts) * full.encode(texts)).sum(axis=1)
    assert cosines.mean() > 0.99
    assert cosines.min() > 0.95


def test_full_encoder_file_is_the_torch_model_averaged_over_tokens(model_dir: ModelDir) -> None:
    """Neighbours in meaning are neighbours in space, and a known pair has the published similarity."""
    cat, kitten, law = Encoder(model_dir(ENCODER), file=FP32_FILE).encode(
        ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    )
    assert float(cat @ kitten) == pytest.approx(0.943, abs=0.003)
    assert float(cat @ law) == pytest.approx(0.257, abs=0.003)


def test_vector_of_a_text_does_not_depend_on_the_others(model_dir: ModelDir) -> None:
    encoder = Encoder(model_dir(ENCODER))
    texts = ["a short one", "a text of quite another length, " * 30, ""]
    together = encoder.encode(texts)
    assert np.array_equal(together, np.concatenate([encoder.encode([text]) for text in texts]))
    assert together.shape == (3, 384)
