"""What Ray adds between gateway and engines, with scripted engines behind the cascade graph."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from asking import REPLY_S, account, ask, eventually, ready, text_of
from conftest import ROWS
from launching import Served

SMALL = "smollm2-135m-instruct"
LARGE = "qwen2.5-coder-0.5b-instruct"


def test_readyz_names_every_node(scripted: Served) -> None:
    nodes = {"specialists": "ok", "fallback": "ok", "ledger": "ok"}
    assert ready(scripted, **nodes)["nodes"] == nodes


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


@pytest.mark.parametrize("model", ["base", "cascade"])
def test_a_client_that_leaves_before_a_whole_answer_is_no_lost_replica(
    scripted: Served, openai_scripted: openai.OpenAI, model: str
) -> None:
    text = f"slow for {model}, please"
    with pytest.raises(openai.APITimeoutError):
        ask(openai_scripted.with_options(timeout=1.5), text, model=model)

    def left() -> dict[str, Any] | None:
        newest = httpx.get(f"{scripted.url}/v1/ledger/queries", params={"limit": 5}, timeout=REPLY_S).json()["data"]
        ended = [one for one in newest if one["requested_model"] == model and one["outcome"] != "accepted"]
        return ended[0] if ended else None

    stored = eventually(left)
    assert stored["outcome"] == "cancelled"
    assert [one["outcome"] for one in stored["attempts"]] == ["cancelled"]  # and nothing is asked again


def test_an_engine_failure_arrives_as_one_sentence(scripted: Served, openai_scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(openai_scripted, "broken thing", model="large")
    assert "failed after 2 tokens" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_query_ends_in_its_time_though_its_engine_hangs(
    scripted: Served, openai_scripted: openai.OpenAI, notes: Path
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(openai_scripted, "stuck please", model="base", extra_headers={"x-headrace-timeout-s": "1"})
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
    query_id = caught.value.response.headers["x-headrace-query-id"]
    assert account(scripted, query_id)["outcome"] == "timed_out"
    eventually(lambda: f"{query_id}:specialists:0 cancelled" in notes.read_text())


def test_a_group_of_calls_is_answered_over_one_handle_and_stops_when_it_is_left(scripted: Served, notes: Path) -> None:
    program = [sys.executable, str(Path(__file__).parent / "group_client.py"), scripted.ray_address]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    first, second, unknown, broken = (found["mixed"][str(member)] for member in range(4))
    assert first == second == {"text": f"this is {SMALL}", "error": None, "ended": True}
    assert unknown == {"text": "", "error": "ModelNotFound", "ended": True}
    assert broken == {"text": "one two", "error": "EngineError", "ended": True}
    assert found["lock_step"] == {"0": first, "1": first}
    assert found["refused"][0] == "ModelNotFound" and "nobody" in found["refused"][1]
    for member in ("a", "b"):
        eventually(lambda member=member: f"group:slow {member}:0:0 cancelled" in notes.read_text())


def test_an_unknown_model_is_404_and_names_what_there_is(openai_scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="choose one of"):
        ask(openai_scripted, "hello", model="nobody")


def test_a_full_engine_is_429_with_retry_after(openai_scripted: openai.OpenAI) -> None:
    with ExitStack() as held:
        for _ in range(ROWS):
            next(held.enter_context(ask(openai_scripted, "slow please", model="base", max_tokens=1800, stream=True)))
        with pytest.raises(openai.RateLimitError) as caught:
            ask(openai_scripted, "hello", model="base")
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_streamed_and_whole_answers_are_the_same_text(openai_scripted: openai.OpenAI) -> None:
    for text in ("hello there", "unsure what to say"):
        whole = ask(openai_scripted, text)
        chunks = list(ask(openai_scripted, text, stream=True))
        assert text_of(chunks) == whole.choices[0].message.content
        assert chunks[-1].headrace["cost_usd"] == whole.headrace["cost_usd"]
