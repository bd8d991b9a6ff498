"""A replica is killed under a call. Before text was sent nobody notices; later: one sentence, a bill, a successor."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import psutil
from asking import account, ask, eventually
from launching import Served
from pytest import raises


def kill_replica(scripted: Served, deployment: str) -> None:
    """The one replica; one that was killed before may still be going."""

    def only() -> psutil.Process | None:
        found = [process for process in scripted.processes() if is_replica(process, deployment)]
        return found[0] if len(found) == 1 else None

    eventually(only).kill()


def is_replica(process: psutil.Process, deployment: str) -> bool:
    try:
        return f"ServeReplica:headrace:{deployment}" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_a_replica_killed_before_anything_was_sent_is_replaced_and_the_query_is_answered(
    scripted: Served, openai_scripted: openai.OpenAI, notes: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, openai_scripted, "stuck please", model="large")
        eventually(lambda: "fallback:0 hangs" in notes.read_text())
        kill_replica(scripted, "Fallback")
        answer = asked.result()
    assert answer.choices[0].message.content.startswith("this is ")
    attempts = account(scripted, answer.id.removeprefix("chatcmpl-"))["attempts"]
    assert [(attempt["node"], attempt["outcome"]) for attempt in attempts] == [
        ("fallback", "failed"),
        ("fallback", "accepted"),
    ]


def test_a_replica_killed_in_the_middle_of_an_answer_ends_it_with_one_sentence(
    scripted: Served, openai_scripted: openai.OpenAI
) -> None:
    stream = ask(openai_scripted, "slow please", model="large", stream=True)
    query_id = next(stream).id.removeprefix("chatcmpl-")
    next(stream)
    kill_replica(scripted, "Fallback")
    with raises(openai.APIError) as caught:
        list(stream)
    assert str(caught.value) == "fallback lost the replica that was answering; try again."
    assert account(scripted, query_id)["outcome"] == "failed"
    answer = ask(openai_scripted, "hello", model="large")
    assert answer.choices[0].message.content.startswith("this is "), "the call waits for the successor"
