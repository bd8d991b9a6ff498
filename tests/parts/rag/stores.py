"""A store with a small encoder: vectors are counts of hashed words, so that texts with the same words are near."""

import hashlib
import re
from pathlib import Path

import numpy as np

from serve_app.config.rag import RagSettings
from serve_app.rag.chunks import Chunker
from serve_app.rag.documents import Document
from serve_app.rag.store import DocumentStore
from tests.unit.rag.tokenizer import write_tokenizer


class HashEncoder:
    """Deterministic; counts how many texts it was given."""

    dimension = 64

    def __init__(self, digest="hash-64"):
        self.digest = digest
        self.num_texts = 0

    def encode(self, texts):
        self.num_texts += len(texts)
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                vector[hashlib.sha256(word.encode()).digest()[0] % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def store_at(folder: Path, encoder=None, address="", **settings) -> DocumentStore:
    tokenizer = write_tokenizer(folder / "tokenizer")
    made = RagSettings(**({"chunk_tokens": 32, "overlap_tokens": 6} | settings))
    chunker = Chunker(tokenizer, made.chunk_tokens, made.overlap_tokens)
    return DocumentStore(made, address or str(folder / "store"), encoder or HashEncoder(), chunker)


def text_document(document_id: str, text: str, **more) -> Document:
    return Document(document_id, text.encode(), **more)
