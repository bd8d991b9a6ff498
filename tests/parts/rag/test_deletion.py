"""What is removed, replaced or dropped leaves no byte on the disk."""

from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pytest

from serve_app.core import Search
from serve_app.rag import collection
from serve_app.rag.chunks import Chunk
from serve_app.rag.collection import Collection
from serve_app.rag.database import Database
from serve_app.rag.documents import Document
from serve_app.rag.filters import document_key
from serve_app.rag.rows import Prepared, to_table
from tests.parts.rag.stores import store_at, text_document

SECRET = "zanzibar4711"
OTHERS = [text_document(f"d{index}", f"Paragraph {index} on rivers.") for index in range(30)]


def files_with(folder, word):
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.fixture
def store(tmp_path):
    made = store_at(tmp_path)
    made.ingest([*OTHERS, text_document("secret", f"The word is {SECRET}.")], "default", None)
    assert files_with(tmp_path, SECRET)
    return made


def test_after_removal_no_file_holds_the_word(store, tmp_path):
    assert store.remove("default", "secret", None)
    assert files_with(tmp_path, SECRET) == []
    assert len(store.documents("default", None)) == len(OTHERS)


def test_after_replacement_no_file_holds_the_old_word(store, tmp_path):
    store.ingest([text_document("secret", "The word is gone.")], "default", None)
    assert files_with(tmp_path, SECRET) == []
    assert store.search(Search("word gone", "default")).passages[0].document_id == "secret"


def test_after_a_drop_no_file_holds_the_word(store, tmp_path):
    store.drop("default")
    assert files_with(tmp_path, SECRET) == []


@pytest.mark.parametrize("removed", [[0], [399], [3, 200, 399]])
def test_rows_of_a_large_fragment_are_not_kept(tmp_path, removed):
    """LanceDB alone keeps them until a tenth of a fragment is gone."""
    database = Database(str(tmp_path))
    database.create("c", 8, "e")
    rng = np.random.default_rng(0)
    keys = [document_key(str(index), None) for index in range(400)]
    rows = [
        to_table(
            Prepared(Document(str(index), b""), "", "text/plain", 1, [Chunk("", f"row {index}", 0, 5, 2)], key, "r"),
            rng.normal(size=(1, 8)).astype(np.float32),
            None,
            "2026-01-01T00:00:00+00:00",
            database.open("c").schema,
        )
        for index, key in enumerate(keys)
    ]
    database.change("c", lambda table: table.replace(pa.concat_tables(rows), keys))
    database.change("c", lambda table: table.delete([keys[index] for index in removed]))
    database.change("c", Collection.purge)
    table = database.open("c")
    assert table.num_rows() == table.stored_rows() == 400 - len(removed)
    assert len(table.by_text("row", "true", 500).result()) == 400 - len(removed)


@pytest.fixture
def dying(monkeypatch):
    """Purges fail as if their process had been killed; gives a function that ends this."""
    real = Collection.purge

    def killed(table):
        raise KeyboardInterrupt

    monkeypatch.setattr(Collection, "purge", killed)
    return lambda: monkeypatch.setattr(Collection, "purge", real)


def test_a_removal_that_was_broken_off_is_finished_when_it_is_sent_again(store, tmp_path, dying):
    with pytest.raises(KeyboardInterrupt):
        store.remove("default", "secret", None)
    assert files_with(tmp_path, SECRET)
    dying()
    assert not store_at(tmp_path).remove("default", "secret", None)
    assert files_with(tmp_path, SECRET) == []


def test_a_replacement_that_was_broken_off_is_finished_by_the_next_ingest(store, tmp_path, dying):
    with pytest.raises(KeyboardInterrupt):
        store.ingest([text_document("secret", "The word is gone.")], "default", None)
    assert files_with(tmp_path, SECRET)
    dying()
    assert store_at(tmp_path).ingest([text_document("secret", "The word is gone.")], "default", None).unchanged == 1
    assert files_with(tmp_path, SECRET) == []


def test_a_purge_that_died_after_the_rows_were_written_anew_is_finished(store, tmp_path, monkeypatch):
    """The current version looks clean then; its older files do not."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(collection, "drop_old_files", MagicMock(side_effect=KeyboardInterrupt))
        store.remove("default", "secret", None)
    assert files_with(tmp_path, SECRET)
    store_at(tmp_path).ingest([OTHERS[0]], "default", None)
    assert files_with(tmp_path, SECRET) == []
    assert not list(tmp_path.rglob("*.purge"))
