"""Queries are of one version, and are made side by side."""

from concurrent.futures import wait

import pytest

from serve_app.core import RetrieverError, Search
from serve_app.rag.database import Database
from serve_app.rag.filters import document_key, visible
from serve_app.rag.queries import Queries
from tests.parts.rag.stores import HashEncoder, store_at, text_document

ALL = visible(None, {})


def test_queries_see_the_version_that_was_opened(tmp_path):
    store = store_at(tmp_path)
    store.ingest([text_document(name, f"River {name} flows.") for name in ("a", "b")], "default", None)
    database = Database(str(tmp_path / "store"))
    before = database.open("default")
    database.change("default", lambda table: table.delete([document_key("a", None)]))
    vector = HashEncoder().encode(["River"])[0]
    for table, expected in ((before, {"a", "b"}), (database.open("default"), {"b"})):
        found = [table.by_vector(vector, ALL, 5), table.by_text("river", ALL, 5)]
        assert wait(found, timeout=60).not_done == set()
        names = [{row["document_id"] for row in table.rows(list(each.result())).values()} for each in found]
        assert names == [expected, expected]


def test_words_are_searched_while_the_question_is_embedded(tmp_path, monkeypatch):
    order, by_text, encode = [], Queries.by_text, HashEncoder.encode

    def searched(self, *arguments):
        order.append("words")
        return by_text(self, *arguments)

    def embedded(self, texts):
        order.append("embedding")
        return encode(self, texts)

    store = store_at(tmp_path)
    store.ingest([text_document("a", "Rivers flow.")], "default", None)
    monkeypatch.setattr(Queries, "by_text", searched)
    monkeypatch.setattr(HashEncoder, "encode", embedded)
    assert store.search(Search("rivers", "default")).passages
    assert order == ["words", "embedding"]


def test_owners_are_compared_from_the_first_row_of_an_owner_on(tmp_path):
    store, other = store_at(tmp_path), store_at(tmp_path)
    database = Database(str(tmp_path / "store"))
    store.ingest([text_document("all", "River one flows.", metadata={"a": "b"})], "default", None)
    assert database.open("default").only_everybodys
    assert names(store.search(Search("river", "default", "ann"))) == {"all"}
    assert names(store.search(Search("river", "default", "ann", where={"a": "c"}))) == set()

    other.ingest([text_document("hers", "River two flows.")], "default", "bob")
    assert not database.open("default").only_everybodys
    for mode in ("vector", "text", "hybrid"):
        assert names(store.search(Search("river", "default", "ann", mode=mode))) == {"all"}  # as it was
    store.refresh()
    for mode in ("vector", "text", "hybrid"):
        assert names(store.search(Search("river", "default", "ann", mode=mode))) == {"all"}
        assert names(store.search(Search("river", "default", mode=mode))) == {"all"}
        assert names(store.search(Search("river", "default", "bob", mode=mode))) == {"all", "hers"}

    store.remove("default", "hers", "bob")
    assert database.open("default").only_everybodys


def names(retrieval):
    return {passage.document_id for passage in retrieval.passages}


def test_what_is_read_after_an_owner_s_write_is_still_the_version_without_it(tmp_path):
    """A collection that was opened before, and asked only afterwards, must not count one version and search another."""
    store = store_at(tmp_path)
    store.ingest([text_document("all", "River one flows.")], "default", None)
    before = Database(str(tmp_path / "store")).open("default")
    store.ingest([text_document("hers", "River two flows.")], "default", "bob")
    assert before.only_everybodys
    assert len(before.by_text("river", "", 5).result()) == 1


def test_no_query_outlives_a_search_that_fails(tmp_path, monkeypatch):
    begun, by_text = [], Queries.by_text

    def searched(self, *arguments):
        begun.append(by_text(self, *arguments))
        return begun[-1]

    def broken(self, texts):
        raise RuntimeError("the encoder is broken")

    store = store_at(tmp_path)
    store.ingest([text_document("a", "Rivers flow.")], "default", None)
    monkeypatch.setattr(Queries, "by_text", searched)
    monkeypatch.setattr(HashEncoder, "encode", broken)
    with pytest.raises(RetrieverError, match="the encoder is broken"):
        store.search(Search("rivers", "default"))
    assert begun and all(each.done() for each in begun)
