"""A small encoder that is truly one (text to unit vector) and a router trained on it in milliseconds."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.router import DomainRouter
from serve_app.router.artifact import write
from serve_app.training.router import Abstention, Trained, train

WORDS = {
    "legal": "court landlord contract sue lawyer judge tenancy will statute clause",
    "medical": "fever doctor pill rash vaccine blood heart symptom dose nurse",
    "code": "python loop compile sql function bug array git server class",
    "general": "cake holiday football song poem river cat party recipe weather",
}


class WordEncoder:
    """Adds up one fixed random direction per word: texts that share words have similar vectors."""

    dimension = 64

    def __init__(self, digest: str = "word-encoder") -> None:
        self.digest = digest
        self.encoded: list[str] = []
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.encoded += texts
        self.calls += 1
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        total = np.full(self.dimension, 1e-3)
        for word in re.findall(r"\w+", text.lower()):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            total += np.random.default_rng(seed).standard_normal(self.dimension)
        return (total / math.sqrt(total @ total)).astype(np.float32)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(words: dict[str, str]) -> list[dict[str, Any]]:
    """Ten two-word texts a label, from two sources."""
    found = []
    for label, text in words.items():
        names = text.split()
        for index, word in enumerate(names):
            other = names[(index + 1) % len(names)]
            found.append({"text": f"{word} {other}", "label": label, "source": f"s{index % 2}"})
    return found


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty training rows of four labels."""
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows_of(WORDS))


@pytest.fixture(scope="session")
def trained(rows_file: Path) -> Trained:
    """A router trained on `rows_file`."""
    return train([rows_file], WordEncoder(), "mixture", abstention=Abstention(floor=0.4))


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    """The trained router on disk."""
    write(trained.artifact, tmp_path / "router")
    return tmp_path / "router"


@pytest.fixture
def encoder() -> WordEncoder:
    """The encoder the router was trained on."""
    return WordEncoder()


@pytest.fixture
def router(folder: Path, encoder: WordEncoder) -> DomainRouter:
    """Loaded from disk."""
    return DomainRouter.load(folder, encoder)


@pytest.fixture(scope="session")
def make_rows() -> Callable[[Path, Sequence[dict[str, Any]]], Path]:
    """`write_rows`, for tests that need a file of their own."""
    return write_rows


@pytest.fixture(scope="session")
def other_encoder() -> WordEncoder:
    """An encoder of another digest."""
    return WordEncoder("another-encoder")
