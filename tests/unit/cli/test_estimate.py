"""Both ways to answer a log: a gateway over scripted engines asked as by HTTP, and the same engines in process."""

import json
import stat
from dataclasses import dataclass

import httpx
import pytest
from typer.testing import CliRunner

from serve_app.cli.estimating import engines
from serve_app.cli.estimating.costs import Models
from serve_app.cli.estimating.outcome import Refused, Tried
from serve_app.cli.estimating.server import Server
from serve_app.cli.main import app
from serve_app.confidence import ThresholdRule
from serve_app.config import RoutesSettings, Settings
from serve_app.core import ConfigError
from serve_app.gateway import PrometheusMetrics, Services, create_app
from serve_app.labelling import chat
from serve_app.ledger import PriceBook, Recorder
from serve_app.patterns import Cascade, Configured, Fixed, Node, Pattern, Routed, Single, WhenFailed
from tests.unit.cli.estimating import (
    LOG,
    MODELS,
    SETTINGS,
    KeywordRouter,
    collect,
    in_process,
    large_engine,
    run,
    small_engine,
)
from tests.unit.memory_ledger import MemoryLedger


@dataclass
class Names:
    """As much of a pattern table as a gateway needs."""

    patterns: dict[str, Pattern]
    adapters: Configured
    routes: RoutesSettings

    def find(self, model):
        return self.patterns[model]


@pytest.fixture
def server():
    """A gateway over the same engines, asked through its whole HTTP side."""
    settings = Settings.model_validate(SETTINGS)
    nodes = Node("specialists", "small", small_engine()), Node("fallback", "large", large_engine())
    # An estimate refuses what is too long for the small model; a graph passes it on, unless it is told not to.
    cascade = Cascade(*nodes, ThresholdRule(settings.cascade), when_failed=WhenFailed(small="fail"))
    adapters = Configured(settings.adapters)
    auto = Routed(cascade, KeywordRouter(), settings.routes, adapters)
    table = Names({"auto": auto, "large": Fixed(Single(nodes[1]), None)}, adapters, settings.routes)
    book = PriceBook(settings.prices, "large", ("small",))

    async def probe():
        return {}

    services = Services(settings, table, book, Recorder(ledger := MemoryLedger()), ledger, probe, PrometheusMetrics())
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)

    def build(run_large=False, models=MODELS):
        return Server(chat.ChatEndpoint("http://gateway", transport=transport), models, run_large, 2)

    return build


@pytest.mark.parametrize("run_large", [False, True])
async def test_both_ways_decide_and_bill_alike(server, here, run_large):
    by_server = await collect(server(run_large))
    by_process = await collect(in_process(run_large))
    for one, other in zip(by_server, by_process, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Tried):
            assert (one.route, one.accepted, one.small_usage) == (other.route, other.accepted, other.small_usage)
            assert not one.accepted or one.small_answer == other.small_answer
        else:
            assert one == other


async def test_what_is_accepted_escalated_and_refused(here):
    easy, hard, legal, tools, unanswered, long = await collect(in_process())
    assert (easy.route, easy.accepted, easy.small_answer) == ("general", True, "four words of answer")
    assert (hard.accepted, hard.small_usage.completion_tokens, hard.large_answer) == (False, 3, "No.")
    assert (legal.route, legal.accepted, legal.evidence["adapter_version"]) == ("legal", True, "v1")
    assert tools == Refused(LOG[3], "tools: unsupported_parameter")
    assert unanswered.large_answer is None
    assert long == Refused(LOG[5], "messages: context_length_exceeded")
    assert "large" not in here


async def test_the_large_model_answers_only_what_the_log_does_not_and_only_when_asked(server, here):
    outcomes = await collect(in_process(run_large=True))
    assert [one.large_answer for one in outcomes if isinstance(one, Tried)] == [
        *("Four words of answer.", "No.", "the large model says this", "the large model says this")
    ]
    assert sorted(call.messages[-1].content for call in here["large"].calls) == ["a contract", "hard"]
    from_server = [one for one in await collect(server()) if isinstance(one, Tried)]
    assert [one.measured for one in from_server] == [False, False, False, True]  # the escalation answered the last one


async def test_without_a_cascade_all_is_accepted(here):
    outcomes = await collect(in_process(enabled=False))
    assert all(one.accepted for one in outcomes if isinstance(one, Tried))


async def test_other_models_than_the_settings_price_are_refused(server):
    with pytest.raises(ExceptionGroup) as caught:
        await collect(server(models=Models("large", "tiny", "large")))
    assert caught.group_contains(ConfigError, match="run small, and the settings price tiny")


async def test_another_server_is_told_apart():
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json={"choices": [{"message": {"content": "hi"}}]})
    )
    source = Server(chat.ChatEndpoint("http://other", transport=transport), MODELS, False, 1)
    with pytest.raises(ExceptionGroup) as caught:
        await source.collect(LOG[:1], lambda done: None)
    assert caught.group_contains(ConfigError, match="no `headrace` object")


async def test_a_foreign_engine_needs_its_graph():
    node = Settings.model_validate({**SETTINGS, "specialists": {"model": "small", "engine": "my.module:start"}})
    with pytest.raises(ConfigError, match="--url"):
        async with engines.running(node.specialists, {}, 1):
            pass


def test_the_command_prints_one_object(files, here):
    done = run(files, "--json", "--seed", 5)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["queries"], found["lines"], found["seed"], found["price_version"]) == (3, 3, 5, "t")
    assert found["total"]["accepted_share"] == pytest.approx(2 / 3)
    assert (found["total"]["compared"], found["total"]["differing"]) == (1, 0)
    assert found["models"] == {"now": "large", "small": "small", "large": "large"}
    assert found["routes"]["legal"]["compared"] == 0


def test_people_get_a_table_a_sentence_and_what_it_cannot_say(files, here):
    done = run(files)
    assert done.exit_code == 0, done.output
    assert "general" in done.stdout
    assert "Saves " in done.stdout
    assert "Only 3 requests" in done.stdout


def test_answers_that_the_scorer_cannot_compare_are_counted_and_told(files, here):
    found = json.loads(run(files, "--json", "--scorer", "numeric").stdout)
    assert found["total"]["compared"] == 0
    assert any(
        "1 answers could not be compared, the first because: `reference` holds no number" in one
        for one in found["warnings"]
    )


async def test_a_server_in_shadow_mode_cannot_be_estimated():
    attempt = {
        "node": "fallback",
        "model": "large",
        "usage": dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), 1),
    }
    body = {
        "choices": [{"message": {"content": "hi"}}],
        "headrace": {"route": None, "escalated": False, "cache": None, "attempts": [attempt]},
    }
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    source = Server(chat.ChatEndpoint("http://host", transport=transport), MODELS, False, 1)
    with pytest.raises(ExceptionGroup) as caught:
        await source.collect(LOG[:1], lambda done: None)
    assert caught.group_contains(ConfigError, match="mirror_share")


def test_no_text_is_written_unless_asked_for(files, here, tmp_path):
    before = set(tmp_path.rglob("*"))
    run(files)
    assert set(tmp_path.rglob("*")) == before


def test_what_is_kept_can_be_labelled_and_fitted(files, here, tmp_path):
    from serve_app.training.cascade import read_attempts

    kept, labelled = tmp_path / "kept.jsonl", tmp_path / "labelled.jsonl"
    assert run(files, "--keep", kept, "--run-large").exit_code == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [row["large_answer"] for row in rows] == ["Four words of answer.", "No.", "the large model says this"]
    assert len(rows[1]["tokens"]) == 8  # the whole draft, although the rule would have dropped it after three
    arguments = ["label", "--log", str(kept), "--scorer", "agreement", "--out", str(labelled), "--drop-text"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [attempt.small_right for attempt in read_attempts(labelled)] == [1.0, 0.0, 0.0]


def test_a_model_without_a_price_is_named(files, here):
    done = run(files, "--now-model", "gpt-4o")
    assert isinstance(done.exception, ConfigError)
    assert "gpt-4o" in str(done.exception)
