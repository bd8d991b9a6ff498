"""Texts on their way to the ledger: redacted here, bounded in memory, sent in the background."""

import asyncio
import json
import sys

import pytest

from serve_app.config.ledger import TextsSettings
from serve_app.core import Answer, ConfigError, LedgerError, Message, Overloaded, Query, SamplingParams
from serve_app.gateway import capture as module
from serve_app.gateway.capture import Capture

ANSWERED = Answer("q1", 7.0, "auto", "accepted", (), model="small", adapter="legal", adapter_version="v1")
CHAT = Query("q1", "auto", SamplingParams(), (Message("system", "Be kind."), Message("user", "I am Ada")), key_id="ada")
RAW = Query("q2", "auto", SamplingParams(), prompt="Once upon")


class Sink:
    """A TextSink that may be away. `called` is set at each try, `has_two` when two texts are stored."""

    def __init__(self):
        self.stored, self.away = [], False
        self.called, self.has_two = asyncio.Event(), asyncio.Event()

    async def put_texts(self, stored):
        self.called.set()
        if self.away:
            raise LedgerError("The database is away.")
        self.stored.extend(stored)
        if len(self.stored) >= 2:
            self.has_two.set()


def without_ada(text):
    return text.replace("Ada", "[name]")


def broken(text):
    raise ZeroDivisionError(text)


NO_FUNCTION = "a string"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """This file as a module that `ledger.texts.redact` can name."""
    monkeypatch.setitem(sys.modules, "redactions", sys.modules[__name__])


def capture(sink, **settings):
    return Capture(TextsSettings(store=True, **settings), sink)


@pytest.mark.parametrize(
    ("settings", "key_id", "opted_in", "wanted"),
    [
        ({"store": False}, "ada", True, False),
        ({"store": True}, "ada", False, True),
        ({"store": True}, None, False, True),
        ({"store": True, "keys": ["ada"]}, "ada", False, True),
        ({"store": True, "keys": ["ada"]}, "bob", False, False),
        ({"store": True, "keys": ["ada"]}, None, False, False),
        ({"store": True, "keys": ["ada"]}, "bob", True, True),
    ],
)
async def test_whose_texts_are_kept(settings, key_id, opted_in, wanted):
    assert Capture(TextsSettings(**settings), Sink()).wants(key_id, opted_in) is wanted


async def test_turns_are_kept_as_json_and_a_raw_prompt_as_a_string():
    sink = Sink()
    keeper = capture(sink)
    keeper.keep(CHAT, "hello", ANSWERED)
    keeper.keep(RAW, "a time", ANSWERED)
    await keeper.close()
    chat, raw = sink.stored
    assert json.loads(chat.prompt) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I am Ada"},
    ]
    assert (chat.answer, chat.key_id, chat.model, chat.adapter_version) == ("hello", "ada", "small", "v1")
    assert json.loads(raw.prompt) == "Once upon"
    assert len(sink.stored) == 2


async def test_prompts_and_answers_are_redacted_before_they_leave():
    sink = Sink()
    keeper = capture(sink, redact="redactions:without_ada")
    keeper.keep(CHAT, "Hello Ada", ANSWERED)
    await keeper.close()
    assert "Ada" not in sink.stored[0].prompt + sink.stored[0].answer
    assert sink.stored[0].answer == "Hello [name]"


async def test_a_text_whose_redaction_fails_is_not_kept(caplog):
    sink = Sink()
    keeper = capture(sink, redact="redactions:broken")
    keeper.keep(CHAT, "Hello Ada", ANSWERED)
    await keeper.close()
    assert (sink.stored, keeper.num_dropped) == ([], 1)
    assert "q1" in caplog.text


@pytest.mark.parametrize("name", ["nowhere_to_be_found:f", "redactions:nothing", "redactions:NO_FUNCTION", ":", "json"])
async def test_a_redaction_that_cannot_be_used_is_refused_at_once_by_name(name):
    with pytest.raises(ConfigError, match=r"ledger\.texts\.redact"):
        capture(Sink(), redact=name)


async def test_what_waits_for_a_ledger_that_is_away_is_sent_when_it_is_back(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    sink = Sink()
    sink.away = True
    keeper = capture(sink)
    keeper.keep(CHAT, "one", ANSWERED)
    await sink.called.wait()
    sink.away = False
    keeper.keep(RAW, "two", ANSWERED)
    await sink.has_two.wait()
    assert [text.answer for text in sink.stored] == ["one", "two"]


async def test_a_bounded_number_waits_and_the_rest_is_dropped_and_counted(monkeypatch, caplog):
    monkeypatch.setattr(module, "_MAX_WAITING", 2)
    sink = Sink()
    sink.away = True
    keeper = capture(sink)
    for _ in range(5):
        keeper.keep(CHAT, "hello", ANSWERED)
    assert keeper.num_dropped == 3
    await keeper.close()
    assert "2 queries are not kept" in caplog.text


async def test_closing_sends_what_waits_in_batches():
    sink = Sink()
    keeper = capture(sink)
    for _ in range(250):
        keeper.keep(CHAT, "hello", ANSWERED)
    await keeper.close()
    assert len(sink.stored) == 250


async def test_a_bounded_number_of_characters_waits_and_goes_in_one_message(monkeypatch):
    monkeypatch.setattr(module, "_MAX_CHARS", 5_000)
    monkeypatch.setattr(module, "_BATCH_CHARS", 2_000)
    sizes = []

    class Counting(Sink):
        async def put_texts(self, stored):
            sizes.append(len(stored))
            await super().put_texts(stored)

    keeper = capture(Counting())
    for length in (900, 900, 900, 4_000, 900):
        keeper.keep(RAW, "x" * length, ANSWERED)
    await keeper.close()
    assert (sizes, keeper.num_dropped) == ([2, 2], 1)
    keeper.keep(RAW, "x" * 4_000, ANSWERED)
    await keeper.close()
    assert sizes == [2, 2, 1]


async def test_a_zero_character_which_postgresql_takes_in_no_text_is_replaced():
    sink = Sink()
    keeper = capture(sink)
    keeper.keep(RAW, "a\0b", ANSWERED)
    await keeper.close()
    assert sink.stored[0].answer == "a\ufffdb"


async def test_a_ledger_that_has_too_much_to_do_is_tried_again(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)

    class Busy(Sink):
        async def put_texts(self, stored):
            if not self.called.is_set():
                self.called.set()
                raise Overloaded("Too many calls wait for the ledger.")
            await super().put_texts(stored)

    sink = Busy()
    keeper = capture(sink)
    keeper.keep(CHAT, "one", ANSWERED)
    keeper.keep(RAW, "two", ANSWERED)
    async with asyncio.timeout(10):
        await sink.has_two.wait()
    await keeper.close()
