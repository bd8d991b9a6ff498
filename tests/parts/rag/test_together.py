"""Several stores on one folder, as in several processes."""

import contextlib
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from serve_app.core import CollectionNotFound, RetrieverError, Search
from serve_app.rag import collection, database, queries
from serve_app.rag.collection import Collection
from serve_app.rag.database import Database
from serve_app.rag.purging import num_fragments
from tests.parts.rag.stores import HashEncoder, store_at, text_document


class MeddlingEncoder(HashEncoder):
    """Does something else, once, while a question is embedded: after the collection was opened for the search."""

    meddle = None

    def encode(self, texts):
        if self.meddle:
            meddle, self.meddle = self.meddle, None
            meddle()
        return super().encode(texts)


def test_a_refresh_shows_what_another_has_written(tmp_path):
    one, other = store_at(tmp_path), store_at(tmp_path)
    one.ingest([text_document("a", "Rivers flow.")], "default", None)
    assert len(other.search(Search("rivers", "default")).passages) == 1
    one.ingest([text_document("b", "Rivers bend.")], "default", None)
    other.refresh()
    assert len(other.search(Search("rivers", "default")).passages) == 2
    assert other.version("default") == one.version("default")
    one.drop("default")
    other.refresh()
    with pytest.raises(CollectionNotFound):
        other.search(Search("rivers", "default"))


def test_a_collection_dropped_during_a_search_is_not_found(tmp_path):
    encoder = MeddlingEncoder()
    one, other = store_at(tmp_path, encoder), store_at(tmp_path)
    one.ingest([text_document("a", "Rivers flow.")], "default", None)
    encoder.meddle = lambda: other.drop("default")
    with pytest.raises(CollectionNotFound, match="'default'"):
        one.search(Search("rivers", "default"))


def test_a_search_whose_files_were_purged_is_made_again(tmp_path):
    encoder = MeddlingEncoder()
    one, other = store_at(tmp_path, encoder), store_at(tmp_path)
    one.ingest([text_document("a", "Rivers flow.")], "default", None)
    encoder.meddle = lambda: other.ingest([text_document("a", "Rivers bend.")], "default", None)
    assert [each.text for each in one.search(Search("rivers", "default")).passages] == ["Rivers bend."]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_writers_at_the_same_time_all_land(tmp_path, scheme):
    """With the file lock of a folder, and without it as on an object store."""
    stores = [store_at(tmp_path, address=f"{scheme}{tmp_path}/store") for _ in range(3)]
    stores[0].ingest([text_document("first", "Rivers begin.")], "default", None)

    def write(index):
        for turn in range(3):
            stores[index].ingest([text_document(f"{index}-{turn}", f"River {index} {turn}.")], "default", None)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    stores[0].refresh()
    found = [info.document_id for info in stores[0].documents("default", None)]
    assert found == sorted(["first", *(f"{index}-{turn}" for index in range(3) for turn in range(3))])


def test_another_encoder_searches_words_only_and_says_so(tmp_path):
    store_at(tmp_path).ingest([text_document("a", "Rivers flow.")], "default", None)
    other = store_at(tmp_path, HashEncoder("another"))
    found = other.search(Search("rivers", "default"))
    assert [each.similarity for each in found.passages] == [None]
    assert found.fit == 0 and "another encoder" in found.remarks[0]
    with pytest.raises(RetrieverError, match="another encoder"):
        other.ingest([text_document("b", "Rivers bend.")], "default", None)


def test_a_refresh_does_not_bring_back_what_was_removed_meanwhile(tmp_path, monkeypatch):
    store, other = store_at(tmp_path), store_at(tmp_path)
    store.ingest([text_document("a", "Rivers flow."), text_document("b", "Rivers bend.")], "default", None)
    other.ingest([text_document("c", "Rivers end.")], "default", None)
    real, removed = Collection.warm, []

    def slow(table):
        if not removed:
            removed.append(store.remove("default", "a", None))
        real(table)

    monkeypatch.setattr(Collection, "warm", slow)
    store.refresh()
    assert removed == [True]
    assert [info.document_id for info in store.documents("default", None)] == ["b", "c"]
    assert store.version("default") == store_at(tmp_path).version("default")


def test_a_refresh_whose_store_is_broken_is_the_store_s_error(tmp_path, monkeypatch):
    """The retriever's look at its store goes on after that one, and ends with any other."""
    store, other = store_at(tmp_path), store_at(tmp_path)
    store.ingest([text_document("a", "Rivers flow.")], "default", None)
    other.ingest([text_document("b", "Rivers end.")], "default", None)
    with monkeypatch.context() as patched, pytest.raises(RetrieverError, match="Not found"):
        patched.setattr(Collection, "warm", MagicMock(side_effect=RuntimeError("Not found: index")))
        store.refresh()
    store.refresh()
    assert len(store.documents("default", None)) == 2


def test_an_empty_collection_is_named_to_everybody_s_owner_only(tmp_path):
    """Its name may tell what another owner was about."""
    store = store_at(tmp_path)
    store.ingest([text_document("a", "Rivers flow.")], "merger", "ann")
    store.remove("merger", "a", "ann")
    assert [info.name for info in store.collections(None)] == ["merger"]
    assert store.collections("ann") == store.collections("bob") == []


def test_many_small_ingests_stay_few_files_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "MOST_FRAGMENTS", 3)
    store = store_at(tmp_path)
    for index in range(12):
        store.ingest([text_document(str(index), f"River {index}.")], "default", None)
        assert store.search(Search(f"River {index}", "default")).passages[0].document_id == str(index)
        assert num_fragments(Database(str(tmp_path / "store")).open("default")._table) <= 3


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are told by Linux")
def test_files_of_indexes_that_are_gone_do_not_stay_open(tmp_path, monkeypatch):
    """Each holds on to the bytes that were deleted with it, too."""
    monkeypatch.setattr(collection, "MOST_FRAGMENTS", 2)
    monkeypatch.setattr(database, "OPENS", 8)
    store = store_at(tmp_path)
    store.ingest([text_document(f"first-{index}", f"River {index}.") for index in range(200)], "default", None)
    for index in range(12):
        store.ingest([text_document(str(index), f"River {index}.")], "default", None)
        assert store.search(Search("River", "default")).passages
    gc.collect()
    assert len([file for file in open_files() if file.startswith(str(tmp_path))]) <= 4


def open_files():
    for each in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            yield str(each.readlink())


def test_what_one_ingest_brings_is_in_both_indexes(tmp_path, monkeypatch):
    """The first that makes the vector index must not leave its words to be read one by one."""
    monkeypatch.setattr(collection, "INDEX_ROWS", 300)
    monkeypatch.setattr(collection, "STALE_ROWS", 100)
    store = store_at(tmp_path)
    store.ingest([text_document(str(index), f"River {index}.") for index in range(400)], "default", None)
    indexes = Database(str(tmp_path / "store")).open("default")._table.list_indices()
    assert {index.name: index.num_unindexed_rows for index in indexes} == dict.fromkeys(
        ("content_idx", "vector_idx", "owner_key_idx"), 0
    )


def test_an_owner_s_few_documents_are_found_among_many_of_others(tmp_path, monkeypatch):
    """They may all lie in parts of the vector index that are far from the question."""
    monkeypatch.setattr(collection, "INDEX_ROWS", 900)
    monkeypatch.setattr(queries, "_PROBES", 1)
    store = store_at(tmp_path)
    store.ingest([text_document(f"mine-{index}", f"zebra {index}") for index in range(20)], "default", "ann")
    others = [text_document(str(index), f"{'abcdefghij'[index % 10]} {index} {index % 7}") for index in range(1_000)]
    store.ingest(others, "default", "bob")
    found = store.search(Search("a 1 1", "default", "ann", limit=20, mode="vector"))
    assert len(found.passages) == 20
