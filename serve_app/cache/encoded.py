"""Vectors from a sentence encoder in this process. Apart from `vectors`, as it loads ONNX Runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from serve_app.cache.neighbours import Vector
from serve_app.encoder import HEAD_TOKENS, TAIL_TOKENS, Encoder
from serve_app.encoder.tokens import HeadTail


class EncoderVectors:
    """A VectorSource on an encoder in this process, in a thread of its own so that the event loop stays free."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """`path`: the encoder's model folder. Raises CatalogueError."""
        self._encoder = Encoder(path, threads)
        self._tokens = HeadTail(path / "tokenizer.json")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache-encoder")
        self.digest = self._encoder.digest

    async def vector(self, text: str) -> Vector | None:
        """See `VectorSource`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._vector, text)

    def vectors(self, texts: Sequence[str]) -> list[Vector | None]:
        """The same for many, for scripts: blocks."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> Vector | None:
        if len(self._tokens.ids(text)) >= HEAD_TOKENS + TAIL_TOKENS + 2:
            return None
        return np.asarray(self._encoder.encode([text])[0], dtype=np.float32)
