import asyncio

import pytest
from tokenizers import Tokenizer

from serve_app.core import EngineError, Usage
from serve_app.engine.request import SampledToken
from serve_app.engines.local.stream import DeltaStream

TOKEN = SampledToken(40, -0.5, 1.0, 0.3)


class Undecided:
    """A decoder that waits for more, as after a token that ends inside a character."""

    def step(self, tokenizer, token_id):
        return None


@pytest.fixture
def tokenizer(model_folder):
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


async def test_deltas_before_a_failure_are_read_before_the_error_and_the_error_stays(tokenizer):
    stream = DeltaStream(tokenizer, (), None)
    stream.token(TOKEN, None, Usage(1, 0, 1))
    stream.token(TOKEN, None, Usage(1, 0, 2))
    stream.fail(EngineError("lost"))
    delta = await stream.next()
    assert delta.usage.completion_tokens == 2 and len(delta.tokens) == 2 and len(delta.text) == 2
    for _ in range(2):
        with pytest.raises(EngineError, match="lost"):
            await stream.next()


async def test_reader_wakes_for_a_token_from_another_thread(tokenizer):
    stream = DeltaStream(tokenizer, (), "v1")
    waiting = asyncio.create_task(stream.next())
    await asyncio.sleep(0)
    await asyncio.to_thread(stream.token, TOKEN, "length", Usage(1, 0, 1))
    delta = await asyncio.wait_for(waiting, timeout=5)
    assert (delta.finish_reason, delta.adapter_version) == ("length", "v1")


async def test_text_held_back_for_a_stop_string_comes_with_the_last_token(tokenizer):
    letter = tokenizer.decode([40])
    stream = DeltaStream(tokenizer, (letter + letter + "x",), None)
    assert not stream.token(TOKEN, None, Usage(1, 0, 1))
    assert (await stream.next()).text == ""
    assert not stream.token(TOKEN, "length", Usage(1, 0, 2))
    assert (await stream.next()).text == letter + letter


async def test_stop_string_that_the_last_text_completes_is_the_reason(tokenizer, monkeypatch):
    stream = DeltaStream(tokenizer, ("!",), None)
    monkeypatch.setattr(stream._text, "_decoder", Undecided())
    bang = SampledToken(tokenizer.token_to_id("!"), -0.5, 1.0, 0.3)
    assert stream.token(bang, "length", Usage(1, 0, 1))
    delta = await stream.next()
    assert (delta.text, delta.finish_reason) == ("", "stop")
