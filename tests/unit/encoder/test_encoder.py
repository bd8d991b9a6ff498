"""A text's vector has length 1 and depends on that text alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.catalogue import record
from serve_app.core import CatalogueError
from serve_app.encoder import Encoder
from tests.properties import examples

WORDS = st.lists(st.integers(0, 120), max_size=120).map(lambda words: " ".join(f"w{word}" for word in words))


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, max_size=5))
def test_vectors_have_length_one_and_do_not_depend_on_the_other_texts(encoder_dir: Path, texts: list[str]) -> None:
    encoder = Encoder(encoder_dir)
    together = encoder.encode(texts)
    assert together.shape == (len(texts), encoder.dimension)
    assert together.dtype == np.float32
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(encoder.encode([text])[0], vector)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_threads_that_share_an_encoder_get_the_same_vectors(encoder_dir: Path) -> None:
    encoder = Encoder(encoder_dir, threads=2)
    texts = [f"w{index} w{index + 1}" for index in range(64)]
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda text: encoder.encode([text])[0], texts))
    assert np.array_equal(np.stack(rows), encoder.encode(texts))


def test_digest_follows_artefact_and_converter_and_not_the_bytes_of_one_machine(encoder_dir: Path) -> None:
    assert Encoder(encoder_dir).digest == record.sha256_of(encoder_dir / "model.int8.onnx")

    def digest_of(source_digest: str, converter: int) -> str:
        made = record.ModelRecord(
            alias="e", source_digest=source_digest, source="s", licence="MIT", converter=converter, files={}
        )
        record.write(encoder_dir, made)
        return Encoder(encoder_dir).digest

    first = digest_of("a" * 64, 1)
    assert digest_of("a" * 64, 1) == first
    assert len({first, digest_of("b" * 64, 1), digest_of("a" * 64, 2)}) == 3


def test_damaged_encoder_file_says_to_verify(encoder_dir: Path) -> None:
    (encoder_dir / "model.int8.onnx").write_bytes(b"nonsense")
    with pytest.raises(CatalogueError, match=r"model.int8.onnx cannot be loaded: run `headrace models verify`"):
        Encoder(encoder_dir)


def test_folder_without_an_encoder_says_what_to_pull(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"holds no model.int8.onnx: run `headrace models pull all-minilm-l6-v2`"):
        Encoder(tmp_path)
