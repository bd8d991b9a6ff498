"""Documents with the real encoder and the small base's tokenizer."""

import numpy as np
import pytest

from serve_app.catalogue import resolve
from serve_app.config.rag import RagSettings
from serve_app.core import Search
from serve_app.encoder import Encoder
from serve_app.rag import Document
from serve_app.rag.embedding import ChunkEncoder
from serve_app.rag.store import DocumentStore

LONG = "The Aare flows through Bern. " * 40


@pytest.fixture(scope="module")
def encoder_path():
    return resolve("all-minilm-l6-v2").path


def test_a_chunks_vector_depends_on_neither_neighbours_nor_threads(encoder_path):
    texts = [LONG, "short", "Cheese is made of milk."]
    alone = np.concatenate([ChunkEncoder(encoder_path, 1).encode([text]) for text in texts])
    assert np.array_equal(alone, ChunkEncoder(encoder_path, 2).encode(texts))


def test_a_window_reads_more_of_a_text_and_is_told_apart(encoder_path):
    router, window = Encoder(encoder_path), Encoder(encoder_path, max_tokens=254)
    changed = LONG[:600] + "Milk and cheese are made of grass. " * 5 + LONG[600:]
    assert np.array_equal(router.encode([LONG]), router.encode([changed]))
    assert not np.array_equal(window.encode([LONG]), window.encode([changed]))
    assert np.array_equal(router.encode(["short"]), window.encode(["short"]))
    assert router.digest != window.digest


def test_a_question_in_other_words_finds_its_passage(tmp_path, encoder_path):
    base = resolve("smollm2-135m-instruct").path
    store = DocumentStore.open(RagSettings(), str(tmp_path), encoder_path, base, threads=2)
    pages = {
        "rivers": "The Aare flows through Bern into the Rhine.",
        "cheese": "Gruyere is ripened in cellars for months.",
    }
    store.ingest([Document(name, text.encode()) for name, text in pages.items()], "default", None)
    found = store.search(Search("How long is this dairy product aged?", "default"))
    unfit = store.search(Search("Which court hears appeals on patents?", "default"))
    assert found.passages[0].document_id == "cheese"
    assert unfit.fit < 0.2 and unfit.fit < found.fit
