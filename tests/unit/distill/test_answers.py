"""What was asked once is not asked again."""

from contextlib import asynccontextmanager

import pytest

from serve_app.catalogue import ModelFiles
from serve_app.core import EngineError, Message, SamplingParams
from serve_app.distill.answers import Ask, LocalAnswerer
from serve_app.engines.fake import FakeAnswer, FakeEngine

GREEDY = SamplingParams(max_tokens=4, temperature=0)


def ask(text, sampling=GREEDY):
    return Ask(text, (Message("user", text),), sampling)


class Asked:
    """Answerers over one cache; `texts` are the questions that reached an engine."""

    def __init__(self, folder):
        self.folder, self.texts = folder, []

    def answerer(self, digest="d" * 64):
        @asynccontextmanager
        async def engine(asker, num_asks):
            started = FakeEngine(lambda call: f"re {call.messages[-1].content}")
            yield started
            self.texts += [call.messages[-1].content for call in started.calls]

        return LocalAnswerer(ModelFiles("m", self.folder, digest), cache=self.folder / "answers", engine=engine)


async def test_answers_are_kept_by_model_turns_and_sampling(tmp_path):
    asked = Asked(tmp_path)
    told = []
    first = await asked.answerer().answer([ask("a"), ask("b")], told.append)
    second = await asked.answerer().answer([ask("b"), ask("c")])
    assert (first["a"].text, second["b"].text, second["c"].text) == ("re a", "re b", "re c")
    assert first["b"] == second["b"]
    assert sum(told) == 2
    assert asked.texts == ["a", "b", "c"]
    await asked.answerer().answer([ask("a", SamplingParams(max_tokens=4, temperature=0.7, seed=1))])
    await asked.answerer("e" * 64).answer([ask("a")])
    assert asked.texts == ["a", "b", "c", "a", "a"]


async def test_no_engine_starts_where_all_is_known(tmp_path):
    asked = Asked(tmp_path)
    await asked.answerer().answer([ask("a")])
    again = asked.answerer()
    again.engine = None  # a real one: it would fail
    assert (await again.answer([ask("a")]))["a"].text == "re a"


async def test_a_line_that_was_cut_off_is_asked_again(tmp_path):
    asked = Asked(tmp_path)
    await asked.answerer().answer([ask("a"), ask("b")])
    (file,) = (tmp_path / "answers").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    await asked.answerer().answer([ask("a"), ask("b")])
    assert asked.texts == ["a", "b", "b"]
    assert file.read_bytes() == whole


async def test_what_the_engine_raises_comes_alone_and_answers_so_far_are_kept(tmp_path):
    @asynccontextmanager
    async def engine(asker, num_asks):
        yield FakeEngine({"bad": FakeAnswer("one two", fail_after=1)}, token_s=0.001)

    answerer = LocalAnswerer(ModelFiles("m", tmp_path, "d" * 64), cache=tmp_path / "answers", engine=engine)
    await answerer.answer([ask("a")])
    with pytest.raises(EngineError, match="failed after 1 tokens"):
        await answerer.answer([ask("a"), ask("bad"), ask("bad again")])
    answerer.engine = None  # a real one: it would fail
    assert (await answerer.answer([ask("a")]))["a"].text == "a scripted answer"
