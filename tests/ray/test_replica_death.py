"""A replica is killed in the middle of an answer: one sentence, a bill, and the graph recovers by itself."""

import openai
import pytest
from asking import account, ask, eventually
from launching import Served


def test_a_killed_engine_breaks_its_answer_off_with_one_sentence_and_is_replaced(
    scripted: Served, openai_scripted: openai.OpenAI
) -> None:
    stream = ask(openai_scripted, "slow please", model="large", stream=True)
    query_id = next(stream).id.removeprefix("chatcmpl-")
    next(stream)
    (replica,) = [process for process in scripted.processes() if "Fallback" in " ".join(process.cmdline())]
    replica.kill()
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert "fallback failed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert account(scripted, query_id)["outcome"] == "failed"

    def answers_again() -> bool:
        try:
            return bool(ask(openai_scripted, "hello", model="large", timeout=5).choices)
        except openai.APIError:
            return False

    eventually(answers_again, within_s=60)
