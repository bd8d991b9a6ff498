"""Turns a fetched artefact into the files that the engine and the encoder read; run as a child by conversion.py.

The only module of the catalogue that loads torch and transformers.

    gguf      one GGUF file          -> model.safetensors (bf16), tokenizer, chat template, generation config
    encoder   BERT as safetensors    -> model.onnx (fp32), model.int8.onnx, tokenizer.json, config.json
"""

from __future__ import annotations

import argparse
import functools
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ONNX_OPSET = 17


def convert_gguf(gguf: Path, target: Path, end_tokens: list[str]) -> None:
    """Write the model as bf16 safetensors with tokenizer, template and end tokens. Needs no network."""
    import gguf as reader
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # transformers parses the file once for the configuration, once for the weights and once for the tokenizer, a third
    # of the whole time; this process ends after one conversion, so the parsed file is kept for all.
    reader.GGUFReader = functools.cache(reader.GGUFReader)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    restore_pre_tokenizer(tokenizer, pre_tokenizer_name(gguf))
    model.generation_config._from_model_config = False  # else transformers derives it anew, with one end token only
    model.generation_config.eos_token_id = end_token_ids(tokenizer, end_tokens)
    model.save_pretrained(target, max_shard_size="1TB")  # one file, whatever the size
    tokenizer.save_pretrained(target)


def pre_tokenizer_name(gguf: Path) -> str:
    """The GGUF's `tokenizer.ggml.pre`: which way of cutting text into words its tokenizer was trained with."""
    import gguf as reader

    field = reader.GGUFReader(str(gguf)).get_field("tokenizer.ggml.pre")
    return "" if field is None else str(field.contents())


def restore_pre_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Put back what transformers drops when it reads a tokenizer from a GGUF; changes `tokenizer`.

    SmolLM2 cuts digits apart before all else, so that "\\n   1" begins with one token of newline and blanks. Qwen
    composes Unicode first (NFC), so that an accent typed as two code points is the letter it was trained on.
    """
    from tokenizers import normalizers, pre_tokenizers

    backend: Any = tokenizer.backend_tokenizer
    if name == "smollm":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
        )
    elif name == "qwen2":
        backend.normalizer = normalizers.NFC()
    else:
        raise ValueError(f"pre-tokenizer {name!r} is not known to Headrace (smollm and qwen2 are)")


def end_token_ids(tokenizer: PreTrainedTokenizerBase, end_tokens: list[str]) -> list[int]:
    """Ids of the tokens that end an answer; raises ValueError for one that the tokenizer lacks."""
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in end_tokens if token not in vocabulary]
    if missing or not end_tokens:
        raise ValueError(f"end tokens {missing or end_tokens} are not in the tokenizer's vocabulary")
    return [vocabulary[token] for token in end_tokens]


def convert_encoder(source: Path, target: Path) -> None:
    """Export the sentence encoder to ONNX: input_ids (1, num_tokens) int64 -> vector (1, hidden) of length 1.

    One text a run, so no padding and no mask; the mean over tokens and the normalisation are in the graph.
    """
    import torch
    from transformers import AutoModel

    class MeanPooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, bert: torch.nn.Module) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=input_ids).last_hidden_state
            return torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)

    bert = AutoModel.from_pretrained(source, attn_implementation="eager", dtype=torch.float32, add_pooling_layer=False)
    torch.onnx.export(
        MeanPooled(bert.eval()),
        (torch.ones(1, 9, dtype=torch.long),),
        target / "model.onnx",
        input_names=["input_ids"],
        output_names=["vector"],
        dynamic_axes={"input_ids": {1: "num_tokens"}},
        opset_version=ONNX_OPSET,
        dynamo=False,  # the newer exporter needs onnxscript, which nothing else here does
    )
    quantize(target / "model.onnx", target / "model.int8.onnx")
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(source / name, target / name)


def quantize(model: Path, target: Path) -> None:
    """Write `model` with 8-bit weights.

    A scale per channel keeps the vectors (cosine .993 with fp32, against .964 per tensor); the weights use 7 of the 8
    bits because processors without VNNI saturate on the eighth, and the vectors shall not depend on the processor.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)


def main(arguments: list[str]) -> None:
    """The child process: `format source target [end token ...]`; its last line on stderr says what went wrong."""
    parser = argparse.ArgumentParser(prog="serve_app.catalogue.convert")
    parser.add_argument("format", choices=("gguf", "encoder"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("end_tokens", nargs="*")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if options.format == "encoder":
        convert_encoder(options.source, options.target)
    else:
        (gguf,) = options.source.glob("*.gguf")
        convert_gguf(gguf, options.target, options.end_tokens)


if __name__ == "__main__":
    main(sys.argv[1:])
