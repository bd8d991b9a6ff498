"""The chaos bench's own books: what a client counts, and how the ledger's rows are held against it. No Ray."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from serve_app.core import Answer, Attempt, Usage
from serve_app.ledger import SqlLedger
from serve_app.ledger.public import public_account


@pytest.fixture
def bench(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the bench, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.chaos.{name}")

    return module


DRAFT = Attempt("specialists", "small", None, "escalated", Usage(3, 0, 4), 5.0, cost_nusd=7)
LARGE = Attempt("fallback", "large", None, "accepted", Usage(3, 0, 2), 9.0, cost_nusd=40)
ANSWER = Answer("q1", 1000.0, "auto", "accepted", (DRAFT, LARGE), ms=20.0, cost_nusd=47, always_large_nusd=40)
LEFT = replace(ANSWER, query_id="q2", outcome="cancelled", attempts=(replace(DRAFT, outcome="cancelled"),))


@pytest.fixture
async def rows(bench: Any, tmp_path: Path) -> Any:
    """The rows of a ledger that has these answers."""

    async def read(*answers: Answer) -> Any:
        database = str(tmp_path / "ledger.sqlite3")
        ledger = SqlLedger(database)
        await ledger.open()
        for answer in answers:
            await ledger.record([answer])
        await ledger.close()
        return await bench("reconcile").read_rows(database)

    return read


def seen(bench: Any, query_id: str | None = "q1", end: str = "finished", num_words: int = 2, **told: int) -> Any:
    tally = bench("tally")
    account = replace(tally.told(public_account(ANSWER)), **told)
    return tally.Seen("stream", end, query_id, num_words, account if end == "finished" else None)


async def test_equal_books_are_exact(bench: Any, rows: Any) -> None:
    clients = [seen(bench), seen(bench, "q2", "left")]
    report = bench("reconcile").reconcile(clients, await rows(ANSWER, LEFT))
    assert (report["answered"], report["rows"], report["missing"], report["duplicate"]) == (1, 1, 0, 0)
    assert report["clients"] == report["ledger"]
    assert report["ledger"]["completion_tokens"] == 6
    assert bench("reconcile").is_exact(report)


@pytest.mark.parametrize(
    ("of_client", "fault"),
    [
        ({"num_words": 3}, "differing"),
        ({"cost_nusd": 48}, "differing"),
        ({"prompt_tokens": 7}, "differing"),
        ({"query_id": "q9"}, "missing"),
        ({"query_id": "q9", "end": "left"}, "begun_missing"),
        ({"query_id": "q9", "end": "broken"}, "begun_missing"),
    ],
)
async def test_what_a_client_saw_otherwise_is_found(bench: Any, rows: Any, of_client: Any, fault: str) -> None:
    report = bench("reconcile").reconcile([seen(bench, **of_client)], await rows(ANSWER))
    assert report[fault] == 1
    assert not bench("reconcile").is_exact(report)


async def test_a_query_with_two_rows_is_found(bench: Any, rows: Any) -> None:
    next_day = replace(ANSWER, created_at_s=ANSWER.created_at_s + 86_400)
    report = bench("reconcile").reconcile([seen(bench)], await rows(ANSWER, next_day))
    assert (report["rows"], report["duplicate"]) == (2, 1)
    assert not bench("reconcile").is_exact(report)


async def test_a_row_that_no_client_knows_has_to_be_of_a_client_that_was_cut_off(bench: Any, rows: Any) -> None:
    reconcile = bench("reconcile")
    stored = await rows(ANSWER, LEFT)
    assert not reconcile.is_exact(reconcile.reconcile([seen(bench)], stored))
    assert reconcile.is_exact(reconcile.reconcile([seen(bench), seen(bench, None, "broken")], stored))


async def test_an_account_that_died_with_its_gateway_on_the_way_to_the_client_is_a_retried_query(
    bench: Any, rows: Any
) -> None:
    unheard = replace(ANSWER, query_id="q3", gateway="dead", created_at_s=900.0)
    report = bench("reconcile").reconcile([seen(bench)], await rows(replace(ANSWER, gateway="alive"), unheard))
    assert (report["retried"], report["strangers"]) == (1, 0)
    assert bench("reconcile").is_exact(report)


def stream_of(*events: Any) -> bytes:
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n" for event in events
    )


def words(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}], **more}


END = {"choices": [{"delta": {}}], "headrace": public_account(ANSWER)}
WHOLE = {"choices": [{"message": {"content": "one two"}}], "headrace": public_account(ANSWER)}


@pytest.mark.parametrize(
    ("kind", "status", "content", "end", "num_words"),
    [
        ("whole", 200, json.dumps(WHOLE).encode(), "finished", 2),
        ("whole", 503, b'{"error": {}}', "refused", 0),
        ("whole", 200, b'{"choi', "broken", 0),
        ("stream", 200, stream_of(words("one"), words(" two"), END, b"[DONE]"), "finished", 2),
        ("stream", 200, stream_of(words("one"), END), "broken", 1),
        ("stream", 200, stream_of(words("one"), {"error": {"message": "failed"}}), "broken", 1),
        ("left stream", 200, stream_of(*[words(f"w{number} ") for number in range(9)], END, b"[DONE]"), "left", 3),
    ],
)
async def test_what_a_client_sees(bench: Any, kind: str, status: int, content: bytes, end: str, num_words: int) -> None:
    client = bench("client")
    [asked] = [one for one in client.KINDS if one.name == kind]
    answer = httpx.Response(status, content=content, headers={"x-headrace-query-id": "q1"})
    async with httpx.AsyncClient(base_url="http://x", transport=httpx.MockTransport(lambda request: answer)) as http:
        one = await client.ask(http, asked, "easy question", 0.0)
    assert (one.end, one.query_id, one.num_words) == (end, "q1", num_words)
    assert (one.told is not None) == (end == "finished")


async def test_a_connection_that_breaks_is_seen_as_broken(bench: Any) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = bench("client")
    async with httpx.AsyncClient(base_url="http://x", transport=httpx.MockTransport(refuse)) as http:
        one = await client.ask(http, client.KINDS[0], "easy question", 0.0)
    assert (one.end, one.query_id) == ("broken", None)
