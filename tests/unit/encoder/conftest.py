"""A tiny encoder: a word tokenizer and a graph that averages one-hot rows and brings them to length 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{index}" for index in range(100))]


def save_tokenizer(path: Path, words: list[str]) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(max_length=8)  # as the real file does; the encoder must not obey it
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(path))


def save_graph(path: Path) -> None:
    table = numpy_helper.from_array(np.eye(len(WORDS), dtype=np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["vector"], axis=-1, p=2),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "num_tokens"])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, len(WORDS)])
    graph = helper.make_graph(nodes, "tiny", [ids], [vector], [table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def encoder_dir(tmp_path: Path) -> Path:
    save_tokenizer(tmp_path / "tokenizer.json", WORDS)
    save_graph(tmp_path / "model.int8.onnx")
    return tmp_path
