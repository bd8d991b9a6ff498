"""What Ray adds between gateway and engines, with scripted engines behind the cascade graph."""

import concurrent.futures
from pathlib import Path

import httpx
import openai
import pytest
from asking import account, ask, eventually, text_of
from launching import Served

LARGE = "qwen2.5-coder-0.5b-instruct"


def test_readyz_names_every_node(scripted: Served) -> None:
    nodes = httpx.get(f"{scripted.url}/readyz").json()["nodes"]
    assert nodes == {"specialists": "ok", "fallback": "ok", "ledger": "ok"}


def test_an_unsure_small_answer_is_replaced_and_both_attempts_are_billed(
    scripted: Served, openai_scripted: openai.OpenAI
) -> None:
    answer = ask(openai_scripted, "unsure what to say")
    assert answer.choices[0].message.content == f"this is {LARGE}"
    stored = account(scripted, answer.headrace["query_id"])
    assert [(a["node"], a["outcome"]) for a in stored["attempts"]] == [
        ("specialists", "escalated"),
        ("fallback", "accepted"),
    ]
    assert stored["escalated"] and all(a["cost_usd"] > 0 for a in stored["attempts"])


def test_a_client_that_leaves_stops_the_engine_and_is_billed_as_cancelled(
    scripted: Served, openai_scripted: openai.OpenAI, notes: Path
) -> None:
    with ask(openai_scripted, "slow please", stream=True) as stream:
        chunks = iter(stream)
        query_id = next(chunks).id.removeprefix("chatcmpl-")
        for _ in range(3):
            next(chunks)
    stored = account(scripted, query_id)
    assert stored["outcome"] == "cancelled"
    assert [a["outcome"] for a in stored["attempts"]] == ["cancelled"]
    assert 0 < stored["attempts"][0]["usage"]["completion_tokens"] < 250
    eventually(lambda: f"{query_id}:specialists:0 cancelled" in notes.read_text())


def test_an_engine_failure_arrives_as_one_sentence(scripted: Served, openai_scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(openai_scripted, "broken thing", model="large")
    assert "failed after 2 tokens" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_an_unknown_model_is_404_and_names_what_there_is(openai_scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="choose one of"):
        ask(openai_scripted, "hello", model="nobody")


def test_a_full_engine_is_429_with_retry_after(openai_scripted: openai.OpenAI) -> None:
    def status(_: int) -> tuple[int, str | None]:
        try:
            ask(openai_scripted, "slow please", model="base", max_tokens=100)
        except openai.RateLimitError as error:
            return 429, error.response.headers.get("retry-after")
        return 200, None

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(status, range(12)))
    assert outcomes.count((200, None)) >= 8
    refused = [wait for code, wait in outcomes if code == 429]
    assert refused and all(wait is not None and int(wait) >= 1 for wait in refused)


def test_streamed_and_whole_answers_are_the_same_text(openai_scripted: openai.OpenAI) -> None:
    for text in ("hello there", "unsure what to say"):
        whole = ask(openai_scripted, text)
        chunks = list(ask(openai_scripted, text, stream=True))
        assert text_of(chunks) == whole.choices[0].message.content
        assert chunks[-1].headrace["cost_usd"] == whole.headrace["cost_usd"]
