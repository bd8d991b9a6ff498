"""Chunks cover a document, keep to the bound, and say exactly where they are from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from serve_app.core import CatalogueError
from serve_app.rag.chunks import Chunker
from serve_app.rag.documents import Document
from serve_app.rag.readers import read
from serve_app.rag.reading import Writer
from tests.properties import examples
from tests.unit.rag.tokenizer import write_tokenizer

KINDS = st.sampled_from(["heading", "paragraph", "item", "row", "code"])
WORDS = st.text(st.sampled_from("ab.!? \n\t|é漢😀'\""), max_size=120)


@pytest.fixture(scope="module", params=["words", "bytes"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "words":
        return write_tokenizer(folder)
    alphabet = {letter: index for index, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    made = Tokenizer(models.BPE(alphabet, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.save(str(folder / "tokenizer.json"))
    return folder


@settings(max_examples=examples(60), deadline=None)
@given(
    blocks=st.lists(st.tuples(KINDS, WORDS, st.integers(1, 6)), max_size=12),
    chunk_tokens=st.integers(16, 40),
    overlap_tokens=st.integers(0, 40),
)
def test_chunks_cover_the_text_within_the_bound(tokenizer, blocks, chunk_tokens, overlap_tokens):
    writer = Writer(10_000)
    for kind, text, level in blocks:
        writer.add(kind, text, level if kind == "heading" else 0)
    reading = writer.reading()
    chunker = Chunker(tokenizer, chunk_tokens, overlap_tokens)
    covered = [letter.isspace() for letter in reading.text]
    starts = []
    for chunk in chunker.chunks(reading):
        assert chunk.text == reading.text[chunk.start : chunk.end] == chunk.text.strip() != ""
        assert chunk.num_tokens == chunker.num_tokens(chunk.text) <= chunk_tokens
        covered[chunk.start : chunk.end] = [True] * (chunk.end - chunk.start)
        starts.append(chunk.start)
    assert all(covered)
    assert starts == sorted(set(starts))


def chunks_of(tmp_path, text, chunk_tokens=16, overlap_tokens=0, name="a.md"):
    chunker = Chunker(write_tokenizer(tmp_path), chunk_tokens, overlap_tokens)
    return list(chunker.chunks(read(Document(name, text.encode()), 1, timeout_s=60)))


def test_headings_above_a_chunk_are_its_title(tmp_path):
    made = chunks_of(tmp_path, "# Rivers\n\n## Aare\n\nIt flows.\n\n## Rhine\n\nIt is long.\n\n# Lakes\n\nStill.")
    assert [chunk.title for chunk in made] == ["Rivers > Aare", "Rivers > Rhine", "Rivers > Lakes"]
    assert made[0].text == "Rivers\n\nAare\n\nIt flows."


def test_sentences_stay_whole_where_they_fit(tmp_path):
    text = "One two three four five six. Seven eight nine ten. Eleven twelve thirteen fourteen fifteen sixteen."
    assert [chunk.text for chunk in chunks_of(tmp_path, text)] == [
        "One two three four five six. Seven eight nine ten.",
        "Eleven twelve thirteen fourteen fifteen sixteen.",
    ]


def test_a_chunk_repeats_the_last_sentences_of_the_one_before(tmp_path):
    text = "One two three four five six. Seven eight nine ten. Eleven twelve thirteen fourteen fifteen sixteen."
    made = chunks_of(tmp_path, text, overlap_tokens=5)
    assert made[1].text.startswith("Seven eight nine ten. Eleven")


def test_a_sentence_that_is_too_long_is_cut_after_a_word(tmp_path):
    made = chunks_of(tmp_path, " ".join(["word"] * 50))
    assert [chunk.num_tokens for chunk in made] == [16, 16, 16, 2]
    assert all(chunk.text.endswith("word") for chunk in made)


def test_a_tokenizer_that_is_missing_is_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"tokenizer\.json is missing"):
        Chunker(tmp_path, 16, 0)


def test_space_between_sentences_does_not_pile_up(tmp_path):
    """It holds no tokens and takes time: a chunk stays within eight characters for each token that it may have."""
    chunker = Chunker(write_tokenizer(tmp_path), 32, 8)
    text = "".join(f"Sentence {index}." + " " * 200 for index in range(100))
    chunks = list(chunker.chunks(read(Document("a.txt", text.encode()), 1, timeout_s=60)))
    assert max(len(chunk.text) for chunk in chunks) <= 8 * 32
    assert all(f"Sentence {index}." in "".join(chunk.text for chunk in chunks) for index in range(100))
