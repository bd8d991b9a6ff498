"""What is exported of the ledger's texts and of a log, and what is not, by why."""

import json
import sys
from collections import Counter
from dataclasses import replace

import pytest

from serve_app.config.ledger import TextsSettings
from serve_app.core import ConfigError, DataError
from serve_app.distill.export import Exported, cleaned, from_ledger, from_log, redaction, refuse_few
from serve_app.keys.key import Key
from serve_app.keys.store import KeyStore
from serve_app.ledger.texts import StoredText, TextStore, Wanted
from tests.unit.distill.examples import example
from tests.unit.ledger.conftest import ledger

__all__ = ["ledger"]

TEXT = StoredText(
    query_id="q1",
    created_at_s=1000.0,
    key_id="ada",
    prompt=json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who wrote Emma?"}]),
    answer="Jane Austen.",
    model="large",
    adapter="books",
    adapter_version="v1",
    escalated=True,
)
KEPT = TextsSettings(store=True)


async def exported(ledger, *texts, settings=KEPT):
    await TextStore(ledger.store).put(texts)
    return await from_ledger(ledger.store, settings, Wanted(escalated=True))


async def test_an_escalated_query_is_a_row_with_the_large_answer(ledger):
    found = await exported(ledger, TEXT, replace(TEXT, query_id="q2", escalated=False))
    (row,) = found.rows
    assert not found.dropped
    assert (row.id, row.question, row.answer, row.adapter_version, row.key_id) == (
        "q1", "Who wrote Emma?", "Jane Austen.", "v1", "ada",
    )  # fmt: skip
    assert [turn.role for turn in row.messages] == ["system", "user"]
    assert row.text == "Who wrote Emma?"


async def test_consent_is_asked_again_by_settings_and_keys_as_they_are_now(ledger):
    keys = KeyStore(ledger.store)
    for name in ("ada", "bob"):
        await keys.create(Key(name, store_texts=True))
    await keys.revoke("bob")
    texts = [replace(TEXT, query_id=name, key_id=name) for name in ("ada", "bob", "cid", "eve")]
    found = await exported(ledger, *texts, settings=TextsSettings(store=True, keys=["cid"]))
    assert {row.key_id for row in found.rows} == {"ada", "cid"}
    assert found.dropped == {"no consent": 2}
    off = await from_ledger(ledger.store, TextsSettings(store=False), Wanted())
    assert (off.rows, off.dropped) == ([], {"no consent": 4})


async def test_what_cannot_be_learnt_is_counted(ledger):
    odd = {
        "raw": replace(TEXT, prompt=json.dumps("Once upon")),
        "empty": replace(TEXT, answer="  "),
        "cut": replace(TEXT, prompt=json.dumps([{"role": "assistant", "content": "Hm"}])),
    }
    found = await exported(ledger, *(replace(text, query_id=name) for name, text in odd.items()))
    assert found.dropped == {"raw prompt": 1, "empty answer": 1, "last turn not the user's": 1}


def log(tmp_path, *rows):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_log_gives_the_rows_that_the_large_model_answered(tmp_path):
    rows = [
        {"id": "a", "question": "1 + 1?", "small_answer": "3", "large_answer": "2", "route": "sums", "tokens": []},
        {"id": "b", "question": "1 + 2?", "large_answer": "3", "route": "sums", "escalated": False},
        {"id": "c", "question": "1 + 3?", "small_answer": "4"},
        {"id": "d", "question": "1 + 4?", "large_answer": "5", "route": "words"},
    ]
    found = from_log(log(tmp_path, *rows), "sums")
    assert [(row.id, row.question, row.answer) for row in found.rows] == [("a", "1 + 1?", "2")]
    assert found.dropped == {"not escalated": 1, "no answer of the large model": 1, "another route": 1}


def test_a_bad_row_of_a_log_is_named(tmp_path):
    with pytest.raises(DataError, match=r"log\.jsonl:1: colour: Extra inputs"):
        from_log(log(tmp_path, {"id": "a", "question": "?", "large_answer": "2", "colour": "red"}))


def test_of_near_duplicates_the_newest_stays():
    rows = [example(1, answer="old", created_at_s=1.0), example(2, answer="x")]
    rows.append(rows[0].model_copy(update={"id": "new", "answer": "new", "created_at_s": 2.0}))
    found = cleaned(Exported(rows, Counter()), redaction(None), 0.9)
    assert {row.answer for row in found.rows} == {"new", "x"}
    assert found.dropped == {"near-duplicate": 1}


def without_emma(text):
    return text.replace("Emma", "[title]")


def broken(text):
    raise ZeroDivisionError(text)


NO_FUNCTION = "a string"


@pytest.fixture
def redactions(monkeypatch):
    """This file as a module that a plan can name."""
    monkeypatch.setitem(sys.modules, "redactions", sys.modules[__name__])


@pytest.mark.usefixtures("redactions")
def test_texts_are_redacted_once_more():
    row = example(1, answer="Emma").model_copy(update={"messages": example(2).messages})
    found = cleaned(Exported([row], Counter()), redaction("redactions:without_emma"), 0.9)
    assert found.rows[0].answer == "[title]"
    with pytest.raises(ConfigError, match=r"source\.redact failed on query q1 \(ZeroDivisionError"):
        cleaned(Exported([row], Counter()), redaction("redactions:broken"), 0.9)


@pytest.mark.usefixtures("redactions")
def test_a_redaction_that_is_none_is_named():
    with pytest.raises(ConfigError, match="cannot be imported"):
        redaction("redactions:none")
    with pytest.raises(ConfigError, match="is not a function"):
        redaction("redactions:NO_FUNCTION")


def test_too_few_rows_say_that_texts_must_be_kept():
    with pytest.raises(DataError, match=r"^0 escalated.*there are no others.*ledger\.texts\.store is on"):
        refuse_few(Exported([], Counter()), 1)
