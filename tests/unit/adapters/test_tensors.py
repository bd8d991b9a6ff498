import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.adapters import tensors
from serve_app.adapters.tensors import read_entries, refuse_non_finite
from serve_app.core import AdapterError

WORDS = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32}


def write(path, dtype, words, shape=None):
    """A safetensors file of one tensor `w` from raw words."""
    data = np.asarray(words, dtype=WORDS[dtype]).tobytes()
    record = {"dtype": dtype, "shape": shape or [len(words)], "data_offsets": [0, len(data)]}
    header = json.dumps({"w": record}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(
    ("dtype", "word"),
    [
        ("BF16", 0x7F80),  # infinity
        ("BF16", 0xFF80),  # -infinity
        ("BF16", 0x7FC0),  # quiet NaN
        ("BF16", 0x7F81),  # signalling NaN
        ("F16", 0x7C00),
        ("F16", 0xFE01),
        ("F32", 0x7F800000),
        ("F32", 0xFFC00000),
        ("F32", 0x7F800001),
    ],
)
def test_one_non_finite_word_is_found_and_its_tensor_named(tmp_path, dtype, word):
    path = write(tmp_path / "x.safetensors", dtype, [0, 1, word, 2])
    with pytest.raises(AdapterError, match="tensor w holds NaN or infinity"):
        refuse_non_finite(path, read_entries(path))


@pytest.mark.parametrize(
    ("dtype", "word"), [("BF16", 0x7F7F), ("BF16", 0x007F), ("F16", 0x7BFF), ("F32", 0x7F7FFFFF), ("F32", 0x807FFFFF)]
)
def test_largest_and_subnormal_words_are_finite(tmp_path, dtype, word):
    path = write(tmp_path / "x.safetensors", dtype, [word])
    refuse_non_finite(path, read_entries(path))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_the_check_agrees_with_numpy_on_any_float32_words(tmp_path_factory, words):
    path = write(tmp_path_factory.mktemp("w") / "x.safetensors", "F32", words)
    finite = bool(np.isfinite(np.asarray(words, dtype=np.uint32).view(np.float32)).all())
    try:
        refuse_non_finite(path, read_entries(path))
        passed = True
    except AdapterError:
        passed = False
    assert passed == finite


def test_a_bad_word_beyond_the_first_piece_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "_MAX_RAW_WORDS", 4)
    path = write(tmp_path / "x.safetensors", "BF16", [0] * 9 + [0x7F80])
    with pytest.raises(AdapterError, match="NaN or infinity"):
        refuse_non_finite(path, read_entries(path))


@pytest.mark.parametrize("kept", [0, 4, 7, 8, 20, -1])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    path = write(tmp_path / "x.safetensors", "F32", [1, 2, 3])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(AdapterError, match=r"cut short|damaged"):
        read_entries(path)


def test_trailing_bytes_are_refused(tmp_path):
    path = write(tmp_path / "x.safetensors", "F32", [1, 2, 3])
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(AdapterError, match="damaged"):
        read_entries(path)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise_anything_but_an_adapter_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(AdapterError):
        read_entries(path)


def raw(path, header):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    return path


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ([], "damaged safetensors header"),
        ({}, "holds no tensors"),
        ({"w": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, "is I64"),
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, "at the tensor w"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, "at the tensor w"),
        ({"w": {"dtype": "F32", "shape": "two", "data_offsets": [0, 8]}}, "at the tensor w"),
        ({"w": {"dtype": "F32", "shape": [2]}}, "at the tensor w"),
        ({"w": 3}, "at the tensor w"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "overlap or leave gaps"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header, said):
    with pytest.raises(AdapterError, match=said):
        read_entries(raw(tmp_path / "x.safetensors", header))


def test_an_oversized_file_is_refused_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_BYTES", 10)
    path = write(tmp_path / "x.safetensors", "F32", [1, 2, 3])
    with pytest.raises(AdapterError, match="at most 10"):
        read_entries(path)


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        json.dumps({"w": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}),
        json.dumps({"w": {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]}}),
    ],
)
def test_a_hostile_header_is_one_sentence(tmp_path, header):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
    with pytest.raises(AdapterError):
        read_entries(path)
