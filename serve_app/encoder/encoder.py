"""Runs the exported graph: one text at a time, so that a text's vector does not depend on its neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from serve_app.catalogue import record as records
from serve_app.core import CatalogueError
from serve_app.encoder.tokens import HeadTail

MODEL_FILE = "model.int8.onnx"
FP32_FILE = "model.onnx"


class Encoder:
    """The sentence encoder of one model folder. Safe for concurrent calls; raises CatalogueError when built wrong.

    `threads` are ONNX Runtime's own; one is best where a text is short and cores are shared. `max_tokens`: read the
    first so many tokens of a text, up to the model's own bound, in place of a head and a tail.
    """

    def __init__(self, path: Path, threads: int = 1, file: str = MODEL_FILE, max_tokens: int | None = None) -> None:
        model = path / file
        if not model.is_file():
            raise CatalogueError(f"{path} holds no {file}: run `headrace models pull all-minilm-l6-v2`.")
        tokenizer = path / "tokenizer.json"
        self._tokens = HeadTail(tokenizer) if max_tokens is None else HeadTail(tokenizer, max_tokens, 0)
        self._session = _session(model, threads)
        self.dimension: int = self._session.get_outputs()[0].shape[1]
        self.digest: str = _identity(path, file) if max_tokens is None else f"{_identity(path, file)}:{max_tokens}"
        """Equal wherever the same artefact went through the same converter: vectors stored under it can be compared."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`, shape (num_texts, dimension), each of length 1.

        Of a text the first HEAD_TOKENS and the last TAIL_TOKENS are read, or its first `max_tokens`. One text a run:
        8-bit activations take their scale from all that is in the run, so a batch would mix texts.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for index, text in enumerate(texts):
            ids = np.array([self._tokens.ids(text)], dtype=np.int64)
            vectors[index] = self._session.run(None, {"input_ids": ids})[0][0]
        return vectors


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core to engines
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise CatalogueError(f"{model} cannot be loaded: run `headrace models verify`, then pull it again.") from error


def _identity(path: Path, file: str) -> str:
    """Of artefact, converter and file; where Headrace did not make the folder, of the file's bytes."""
    record = records.read(path)
    if record is None:
        return records.sha256_of(path / file)
    return hashlib.sha256(f"{record.source_digest} {record.converter} {file}".encode()).hexdigest()
