"""Each rule's scores, and what it needs."""

import asyncio

import httpx
import pytest

from serve_app.core import ConfigError, DataError, EngineError
from serve_app.distill.answers import Generated
from serve_app.distill.quality import Checked, QualitySettings, rule
from tests.unit.distill.examples import example


class Sampled:
    """An answerer whose samples are a list, by seed."""

    def __init__(self, *texts):
        self.texts, self.asks = texts, []

    async def answer(self, asks, on_done=lambda num: None):
        self.asks += asks
        for _ in asks:
            on_done(1)
        return {ask.id: Generated(self.texts[ask.sampling.seed], (), 1, 1, 0.0) for ask in asks}


async def scores(settings, rows, large=None):
    told = []
    found = await rule(settings, large, 8).scores(rows, told.append)
    assert sum(told) == len(rows)
    return found


async def test_agreement_is_the_share_of_samples_that_say_the_same():
    large = Sampled("Lost card.", "refund", "lost card")
    rows = [example(1, answer="lost card"), example(2, answer="refund"), example(3, answer="pin")]
    found = await scores(QualitySettings(samples=3, temperature=0.5), rows, large)
    assert found == pytest.approx([2 / 3, 1 / 3, 0])
    assert {(ask.sampling.temperature, ask.sampling.max_tokens) for ask in large.asks} == {(0.5, 8)}


async def test_a_verifier_checks_answers_by_each_rows_own_scorer():
    settings = QualitySettings(rule="verifier", scorer="exact")
    rows = [example(1, answer="blue", reference="blue"), example(2, answer="so 4", reference="4", scorer="numeric")]
    assert await scores(settings, rows) == [1.0, 1.0]
    with pytest.raises(DataError, match="Query q3: `reference` is missing"):
        await scores(settings, [example(3, answer="blue")])


async def test_programs_are_run_against_their_tests():
    programs = [f"def add(a, b):\n    return a {sign} b" for sign in "+-"]
    tests = ("assert add(1, 2) == 3",)
    rows = [example(index, answer=program, tests=tests) for index, program in enumerate(programs)]
    options = {"without_namespaces": True}
    assert await scores(QualitySettings(rule="verifier", scorer="code", options=options), rows) == [1.0, 0.0]


async def test_a_judge_needs_no_reference_where_it_compares_with_nothing():
    reply = {"choices": [{"message": {"content": "GRADE: PARTLY"}}]}
    options = {"url": "http://host/v1", "model": "referee", "compare": "nothing"}
    made = rule(QualitySettings(rule="judge", options=options), None, 8)
    object.__setattr__(made._scorer, "transport", httpx.MockTransport(lambda request: httpx.Response(200, json=reply)))
    assert await made.scores([example(1, answer="blue")], lambda num: None) == [0.5]


async def test_no_rule_takes_all():
    assert await scores(QualitySettings(rule="none"), [example(1), example(2)]) == [1.0, 1.0]


def test_an_unknown_scorer_is_named():
    with pytest.raises(ConfigError, match="There is no scorer 'taste'"):
        rule(QualitySettings(rule="verifier", scorer="taste"), None, 8)


class Away:
    """A scorer that fails on one answer while it waits for the others."""

    name = "away"

    def __init__(self):
        self.cancelled, self.waiting = 0, asyncio.Event()

    async def score(self, item):
        if item.answer == "bad":
            await self.waiting.wait()
            raise EngineError("the judge is away")
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1


async def test_the_first_error_ends_what_else_is_being_judged():
    scorer = Away()
    with pytest.raises(EngineError, match="the judge is away"):
        await Checked(scorer, 4).scores([example(1, answer="good"), example(2, answer="bad")], lambda num: None)
    assert scorer.cancelled == 1
