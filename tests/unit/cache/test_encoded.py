"""Vectors from an encoder in this process."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from serve_app.cache.encoded import EncoderVectors
from serve_app.encoder import HEAD_TOKENS, TAIL_TOKENS

_spec = importlib.util.spec_from_file_location("tiny_encoder", Path(__file__).parent.parent / "encoder" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tiny)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _tiny.save_tokenizer(tmp_path / "tokenizer.json", _tiny.WORDS)
    _tiny.save_graph(tmp_path / "model.int8.onnx")
    return tmp_path


async def test_a_vector_has_length_one_and_is_that_of_the_encoder(folder: Path) -> None:
    vectors = EncoderVectors(folder)
    found = await vectors.vector("w1 w2 w3")
    assert found is not None
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1.0)
    [again] = vectors.vectors(["w1 w2 w3"])
    assert (found == again).all()


@pytest.mark.parametrize(("num_tokens", "whole"), [(63, True), (64, False), (500, False)])
async def test_a_text_that_may_not_be_read_whole_has_no_vector(folder: Path, num_tokens: int, whole: bool) -> None:
    assert HEAD_TOKENS + TAIL_TOKENS == 64
    assert (await EncoderVectors(folder).vector(" ".join(["w5"] * num_tokens)) is not None) is whole
