"""What a search does where something is missing."""

import shutil

import pytest

from serve_app.core import RequestError, RetrieverError, Search
from tests.parts.rag.stores import store_at, text_document

RIVERS = [text_document(f"d{index}", f"River {index} flows.") for index in range(5)]


def test_an_empty_collection_gives_nothing(tmp_path):
    store = store_at(tmp_path)
    store.ingest([], "default", None)
    found = store.search(Search("river", "default"))
    assert (found.passages, found.fit, found.remarks) == ((), 0, ())
    assert [info.documents for info in store.collections(None)] == [0]
    store.ingest(RIVERS[:1], "default", None)
    store.remove("default", "d0", None)
    assert store.search(Search("river", "default")).passages == ()


@pytest.mark.parametrize(
    ("text", "limit", "param"), [(" ", 5, "text"), ("river", 0, "limit"), ("river", 9_999, "limit")]
)
def test_a_search_that_cannot_be_made_names_its_field(tmp_path, text, limit, param):
    store = store_at(tmp_path)
    store.ingest(RIVERS, "default", None)
    with pytest.raises(RequestError) as refused:
        store.search(Search(text, "default", limit=limit))
    assert refused.value.param == param


def test_without_an_index_of_words_vectors_are_searched_and_it_is_said(tmp_path):
    store = store_at(tmp_path)
    store.ingest(RIVERS, "default", None)
    import lancedb

    lancedb.connect(str(tmp_path / "store")).open_table("default").drop_index("content_idx")
    store.refresh()
    found = store.search(Search("river 3 flows", "default", mode="text", limit=2))
    assert found.passages[0].document_id == "d3" and "no index of words" in found.remarks[0]
    store.ingest([text_document("more", "Another river.")], "default", None)
    assert store.search(Search("river", "default")).remarks == ()


def test_a_store_that_is_damaged_says_where_to_look(tmp_path):
    store = store_at(tmp_path)
    store.ingest(RIVERS, "default", None)
    shutil.rmtree(tmp_path / "store" / "default.lance" / "data")
    with pytest.raises(RetrieverError, match=r"check rag\.store"):
        store.search(Search("river", "default"))


def test_fit_rises_with_similarity(tmp_path):
    store = store_at(tmp_path)
    store.ingest(RIVERS, "default", None)
    near, far = (store.search(Search(text, "default")) for text in ("River 3 flows", "an unknown thing"))
    assert 0 < far.fit < near.fit < 1


def test_refused_documents_do_not_stop_the_others(tmp_path):
    store = store_at(tmp_path)
    bad = [text_document("empty", " "), text_document("", "x"), text_document("a\nb", "x")]
    told = []
    report = store.ingest([*bad, *RIVERS], "default", None, told.append)
    assert (report.documents, report.chunks, len(report.refused)) == (5, 5, 3)
    assert "holds no text" in report.refused[0].reason
    assert (told[-1].documents_done, told[-1].documents, told[-1].chunks) == (8, 8, 5)


def test_the_same_bytes_again_are_not_written(tmp_path):
    store = store_at(tmp_path)
    store.ingest(RIVERS, "default", None)
    version = store.version("default")
    report = store.ingest(RIVERS, "default", None)
    assert (report.documents, report.unchanged, report.chunks, report.version) == (5, 5, 0, version)
    report = store.ingest([text_document("d0", "River 0 flows.", metadata={"a": "b"})], "default", None)
    assert report.unchanged == 0


def test_rerank_puts_the_passage_with_the_nearest_sentence_first(tmp_path):
    store = store_at(tmp_path, chunk_tokens=64)
    long = "Cheese is aged. " + "Grass grows on hills and cows eat it all summer long up there. " * 2
    store.ingest(
        [text_document("long", long), text_document("short", "Cheese is sold in market halls.")], "default", None
    )
    plain, again = (
        store.search(Search("Cheese is aged", "default", mode="vector", rerank=rerank)) for rerank in (False, True)
    )
    assert [each.document_id for each in plain.passages] == ["short", "long"]
    assert [each.document_id for each in again.passages] == ["long", "short"]
