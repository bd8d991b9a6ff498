"""Documents go in, are found, are replaced and are gone."""

import sys
import time

import pytest

from serve_app.core import CollectionNotFound, RequestError, Search
from serve_app.rag.readers.child import read_apart
from tests.parts.rag.stores import store_at, text_document

RIVERS = text_document("rivers", "The Aare is a river of Switzerland.\n\nThe Rhine is longer than the Aare.")
CHEESE = text_document("cheese", "Gruyere is a cheese. It is made of milk.")


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path)


def ids(retrieval):
    return [passage.document_id for passage in retrieval.passages]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_the_passage_with_the_words_of_the_question_comes_first(store, mode):
    report = store.ingest([RIVERS, CHEESE], "default", None)
    found = store.search(Search("a cheese made of milk", "default", mode=mode))
    assert ids(found)[0] == "cheese"
    assert report.documents == 2 and report.version == found.version == store.version("default")
    assert 0 < found.fit < 1


def test_offsets_of_a_passage_are_those_of_the_documents_text(store):
    store.ingest([RIVERS], "default", None)
    (found,) = store.search(Search("Rhine", "default")).passages
    assert found.text == RIVERS.data.decode()[found.start : found.end]


def test_an_owner_sees_its_own_and_everybodys(store):
    store.ingest([RIVERS], "default", None)
    store.ingest([CHEESE], "default", "key-1")
    assert set(ids(store.search(Search("river cheese", "default", "key-1")))) == {"rivers", "cheese"}
    assert set(ids(store.search(Search("river cheese", "default", "key-2")))) == {"rivers"}
    assert [info.document_id for info in store.documents("default", None)] == ["rivers"]
    assert [info.documents for info in store.collections("key-1")] == [2]


def test_a_document_of_the_same_name_replaces_the_first(store):
    store.ingest([RIVERS], "default", None)
    before = store.version("default")
    store.ingest([text_document("rivers", "The Reuss joins the Aare.")], "default", None)
    assert store.version("default") != before
    assert [each.text for each in store.search(Search("Aare", "default")).passages] == ["The Reuss joins the Aare."]


class Slow:
    """A chunker that is past every limit once it has cut a part of a document with the word `poison`."""

    def __init__(self, chunker, clock):
        self.chunker, self.clock = chunker, clock

    def chunks(self, reading):
        for chunk in self.chunker.chunks(reading):
            self.clock.late_s += 1_000 if "poison" in chunk.text else 0
            yield chunk


class Clock:
    """The time as ingest reads it, and what was added to it; event loops of other threads keep theirs."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self, monkeypatch):
        self.late_s = 0.0
        monkeypatch.setattr(sys.modules["serve_app.rag.ingest"], "time", self)

    def monotonic(self):
        return time.monotonic() + self.late_s


def test_a_document_that_takes_too_long_to_cut_is_refused_and_the_others_go_in(tmp_path, monkeypatch):
    store = store_at(tmp_path, document_timeout_s=100)
    store._chunker = Slow(store._chunker, Clock(monkeypatch))
    report = store.ingest([RIVERS, text_document("slow", "The poison."), CHEESE], "default", None)
    assert sorted(info.document_id for info in store.documents("default", None)) == ["cheese", "rivers"]
    (refused,) = report.refused
    assert refused.reason.startswith("Document 'slow' takes longer than 100 s to read (rag.document_timeout_s)")


def test_a_page_that_takes_too_long_to_read_is_refused_and_the_others_go_in(tmp_path, monkeypatch):
    limits = []

    def hurried(name, data, max_chars, timeout_s):
        limits.append(timeout_s)
        return read_apart(name, data, max_chars, 1e-3)  # no process starts in so short a time

    monkeypatch.setattr(sys.modules["serve_app.rag.readers.read"], "read_apart", hurried)
    store = store_at(tmp_path, document_timeout_s=100)
    report = store.ingest([RIVERS, text_document("slow.html", "<p>Word.</p>" * 2_000), CHEESE], "default", None)
    assert [one.document_id for one in report.refused] == ["slow.html"]
    assert (report.documents, limits) == (2, [100])


def test_a_removed_document_is_gone(store):
    store.ingest([RIVERS, CHEESE], "default", None)
    assert not store.remove("default", "rivers", "key-1")
    assert store.remove("default", "rivers", None)
    assert ids(store.search(Search("river Aare", "default", mode="text"))) == []


def test_an_unknown_collection_is_named(store):
    with pytest.raises(CollectionNotFound, match="'nothing'"):
        store.search(Search("x", "nothing"))
    with pytest.raises(RequestError, match="letters, digits") as refused:
        store.ingest([RIVERS], "../up", None)
    assert refused.value.code == "invalid_value"
