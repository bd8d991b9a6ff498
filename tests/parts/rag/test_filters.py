"""What a caller writes stays a value, whatever it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import Search
from serve_app.rag.filters import document_key, visible
from tests.parts.rag.stores import store_at, text_document

NASTY = [
    "o'neil",
    "' OR 1=1 --",
    "') OR array_has(labels, 'x",
    'a"b',
    "back\\slash\\'",
    "😀\u2028",
    "%_",
    "`x` ${a} {{b}}",
    "",
    "a\x1fb",
]


@given(st.one_of(st.none(), st.text()), st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_filter_is_made_of_digests_only(key_id, where):
    column = r"owner_key IN \('[0-9a-f]{32}'(, '[0-9a-f]{32}')?\)"
    assert re.fullmatch(rf"{column}( AND array_has\(labels, '[0-9a-f]{{32}}'\))*", visible(key_id, where))


@given(st.text(), st.text(), st.one_of(st.none(), st.text()))
def test_documents_of_different_owners_or_names_have_different_keys(one, other, key_id):
    assert (document_key(one, key_id) == document_key(other, key_id)) == (one == other)
    assert document_key(one, None) != document_key(one, one)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = store_at(tmp_path_factory.mktemp("store"))
    for index, word in enumerate(NASTY):
        if all(ord(letter) >= 32 for letter in word):
            document = text_document(f"d{index}", f"River number {index}.", metadata={"place": word})
            made.ingest([document], "default", f"key {word}")
    return made


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize("word", NASTY)
def test_only_the_documents_asked_for_are_found(store, word, mode):
    index = NASTY.index(word)
    is_plain = all(ord(letter) >= 32 for letter in word)
    search = Search("river number", "default", f"key {word}", mode=mode, where={"place": word})
    assert [each.document_id for each in store.search(search).passages] == ([f"d{index}"] if is_plain else [])
    assert store.search(Search("river number", "default", "another key", mode=mode)).passages == ()
    assert store.search(Search("river number", "default", f"key {word}", where={"place": "elsewhere"})).passages == ()


def test_the_words_of_a_question_are_no_query_language(store):
    for text in ["river AND (", '"', "NOT river", "river~2^", "*", "\0", "(((", "x" * 20_000]:
        store.search(Search(text, "default", "key "))
