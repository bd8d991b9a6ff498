"""Engines, servers and judges that fail: what was answered stays, and what was not is counted."""

import json
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest

from serve_app.cli.estimating import engines
from serve_app.cli.estimating.server import Server
from serve_app.core import ConfigError, EngineError
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.labelling import chat
from tests.unit.cli.estimating import LOG, MODELS, collect, in_process, logged, run


@pytest.fixture
def failing_on_hard(here, monkeypatch):
    """The small engine fails on some requests."""

    @asynccontextmanager
    async def running(node, adapters, threads):
        script = {"hard": FakeAnswer("I am", fail_after=1), "easy": "four words of answer"}
        yield FakeEngine(script, "a legal answer", adapters={"legal": "v1"}, model="small", max_context_tokens=64)

    monkeypatch.setattr(engines, "running", running)


async def test_a_request_that_an_engine_fails_on_is_counted_and_the_others_go_on(failing_on_hard):
    outcomes = await collect(in_process())
    assert [type(one).__name__ for one in outcomes] == ["Tried", "Failed", "Tried", "Refused", "Failed", "Refused"]


def a_server(answers):
    """As much of a Headrace as an estimate needs; `answers(text)` may be a status in place of a text."""

    def answered(request):
        said = answers(json.loads(request.content)["messages"][-1]["content"])
        if isinstance(said, int):
            return httpx.Response(said, json={})
        usage = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), 1)
        attempts = [{"node": "specialists", "model": "small", "usage": usage}]
        account = {"route": None, "escalated": False, "cache": None, "attempts": attempts}
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}], "headrace": account})

    transport = httpx.MockTransport(answered)
    return Server(chat.ChatEndpoint("http://host", max_retries=0, transport=transport), MODELS, False, 1)


async def test_a_request_that_a_server_fails_on_is_counted_and_the_others_go_on():
    outcomes = await a_server(lambda text: 500 if text == "hard" else "fine").collect(LOG[:5], lambda done: None)
    assert [type(one).__name__ for one in outcomes] == ["Tried", "Failed", "Tried", "Tried", "Failed"]


async def test_a_server_that_is_gone_is_not_asked_for_the_rest_and_what_it_answered_is_kept():
    asked = []
    source = a_server(lambda text: asked.append(text) or (500 if len(asked) > 2 else "fine"))
    outcomes = await source.collect([logged(line, "easy") for line in range(50)], lambda done: None)
    assert [type(one).__name__ for one in outcomes] == ["Tried"] * 2 + ["Failed"] * 48
    assert len(asked) == 7
    assert "not asked, after 5 failures in a row" in str(outcomes[-1].error)


def test_failed_requests_are_left_out_and_told(files, failing_on_hard):
    found = json.loads(run(files, "--json").stdout)
    assert (found["queries"], found["failed"]) == (2, 1)
    assert any("1 of the requests failed and are left out, the first because: " in one for one in found["warnings"])


class Away:
    """A judge that does not answer."""

    name = "judge"

    def __init__(self, error):
        self.error, self.num_asked = error, 0

    async def score(self, item):
        self.num_asked += 1
        raise self.error


@pytest.fixture
def judged_by(monkeypatch):
    def use(judge):
        monkeypatch.setattr("serve_app.labelling.scorers.scorer", lambda name, **options: judge)
        return judge

    return use


def test_a_judge_that_fails_costs_no_answer_and_is_told(files, here, judged_by, tmp_path):
    kept = tmp_path / "kept.jsonl"
    judged_by(Away(EngineError("the judge is away")))
    found = json.loads(run(files, "--json", "--keep", kept).stdout)
    assert any("1 answers could not be compared, the first because: the judge is" in one for one in found["warnings"])
    judged_by(Away(ConfigError("the judge takes no such key")))
    kept.unlink()
    assert isinstance(run(files, "--keep", kept).exception, ConfigError)
    assert len(kept.read_text().splitlines()) == 3


def test_a_judge_that_is_gone_is_asked_five_times(files, here, judged_by):
    log, _ = files
    row = {"messages": [{"role": "user", "content": "easy"}], "response": "Yes."}
    log.write_text((json.dumps(row) + "\n") * 30)
    judge = judged_by(Away(EngineError("the judge is away")))
    assert run(files, "--json").exit_code == 0
    assert judge.num_asked <= 5 + 3  # those that were under way


def test_a_server_that_is_away_is_one_sentence(files, monkeypatch):
    async def no_sleep(seconds):
        pass

    def away(request):
        raise httpx.ConnectError("refused")

    endpoint = partial(chat.ChatEndpoint, transport=httpx.MockTransport(away), sleep=no_sleep)
    monkeypatch.setattr(chat, "ChatEndpoint", endpoint)
    done = run(files, "--url", "http://127.0.0.1:1")
    assert isinstance(done.exception, EngineError)
    assert "cannot be reached" in str(done.exception)
