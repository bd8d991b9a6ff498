"""The main job on real models: four kinds of query through the official client, streamed and not."""

from typing import Any

import httpx
import openai
import pytest
from asking import account, ask, text_of
from launching import Served

QUERIES = {
    "legal": 'What kind of clause is this? "This Agreement shall be governed by the laws of the State of New York."',
    "medical": "What are the symptoms of iron deficiency anaemia and how is it treated?",
    "code": "Write a Python function that reverses a linked list.",
    "general": "Tell me about a good way to spend a rainy afternoon.",
}

UNSURE = "CMake cannot find Boost"


@pytest.mark.parametrize("route", QUERIES)
def test_a_query_is_routed_answered_and_billed_the_same_streamed_and_whole(
    route: str, production: Served, openai_production: openai.OpenAI
) -> None:
    whole = ask(openai_production, QUERIES[route], max_tokens=48)
    chunks = list(ask(openai_production, QUERIES[route], max_tokens=48, stream=True))
    text, streamed = whole.choices[0].message.content, text_of(chunks)
    assert len(text.split()) >= 3
    assert streamed == text
    bills = [account(production, answer.headrace["query_id"]) for answer in (whole, chunks[-1])]
    for bill in bills:
        assert bill["route"] == route
        assert bill["outcome"] == "accepted"
        router, first = bill["attempts"][:2]
        assert (router["node"], router["usage"]["busy_s"] > 0) == ("router", True)
        assert first["adapter"] == (None if route == "general" else route)
        assert bill["cost_usd"] > 0
    assert bills[0]["cost_usd"] == bills[1]["cost_usd"] == whole.headrace["cost_usd"]
    assert bills[0]["always_large_usd"] == bills[1]["always_large_usd"]


def test_a_query_that_the_small_model_is_unsure_of_is_answered_by_the_large_one(
    production: Served, openai_production: openai.OpenAI
) -> None:
    """The code specialist knows shell and Python one-liners; of CMake it knows little, and its probabilities say so."""
    whole = ask(openai_production, UNSURE, max_tokens=40)
    *_, last = chunks = list(ask(openai_production, UNSURE, max_tokens=40, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content
    assert last.headrace["cost_usd"] == whole.headrace["cost_usd"]
    assert whole.headrace["escalated"] and whole.headrace["confidence"] < 0.5
    bill = account(production, whole.headrace["query_id"])
    assert [(attempt["node"], attempt["outcome"]) for attempt in bill["attempts"]] == [
        ("router", "accepted"),
        ("specialists", "escalated"),
        ("fallback", "accepted"),
    ]
    assert all(attempt["cost_usd"] > 0 for attempt in bill["attempts"][1:])
    assert bill["cost_usd"] == pytest.approx(sum(attempt["cost_usd"] for attempt in bill["attempts"]))
    assert bill["always_large_basis"] == "measured"


def test_a_client_that_leaves_is_billed_for_what_was_generated(
    production: Served, openai_production: openai.OpenAI
) -> None:
    with ask(openai_production, QUERIES["general"], model="base", max_tokens=400, stream=True) as stream:
        chunks = iter(stream)
        query_id = next(chunks).id.removeprefix("chatcmpl-")
        next(chunks)
    bill = account(production, query_id)
    assert bill["outcome"] == "cancelled"
    assert 0 < bill["attempts"][0]["usage"]["completion_tokens"] < 400


def test_every_model_name_answers(production: Served, openai_production: openai.OpenAI) -> None:
    names = {model.id for model in openai_production.models.list()}
    assert names == {"auto", "router", "cascade", "ensemble", "base", "large", "legal", "medical", "code"}
    for name in names - {"auto"}:
        answer: Any = ask(openai_production, "Say hello.", model=name, max_tokens=4)
        assert answer.headrace["outcome"] == "accepted"


def test_stats_add_up_by_route(production: Served) -> None:
    stats = httpx.get(f"{production.url}/v1/ledger/stats", params={"group_by": "route"}).json()
    assert sum(group["queries"] for group in stats["groups"]) == stats["totals"]["queries"] > 0
