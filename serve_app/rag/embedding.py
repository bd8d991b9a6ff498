"""Chunks and questions to vectors, by the catalogue's sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serve_app.encoder import Encoder

WINDOW_TOKENS = 254
"""Of a chunk and its title; with the model's two special tokens 256, which is what it was trained to read."""


class TextEncoder(Protocol):
    """Texts to vectors of length 1. Safe for concurrent calls."""

    dimension: int
    digest: str
    """Equal wherever vectors can be compared."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, shape (num_texts, dimension). A text's vector does not depend on its neighbours."""
        ...


class ChunkEncoder:
    """The catalogue's encoder on whole chunks: `threads` of them at a time, a thread each."""

    def __init__(self, path: Path, threads: int) -> None:
        self._encoder = Encoder(path, threads=1, max_tokens=WINDOW_TOKENS)
        self._threads = threads
        self.dimension, self.digest = self._encoder.dimension, self._encoder.digest

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See TextEncoder."""
        if self._threads == 1 or len(texts) == 1:
            return self._encoder.encode(texts)
        with ThreadPoolExecutor(self._threads, "rag-encode") as pool:
            parts = list(pool.map(lambda text: self._encoder.encode([text]), texts))
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)
