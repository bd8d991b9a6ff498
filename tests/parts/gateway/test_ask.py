"""`headrace ask` against a gateway over real HTTP on loopback."""

import json
import socket
import time

import httpx
import pytest
import typer
from typer.testing import CliRunner

from serve_app.cli.ask import ask
from serve_app.core import HeadraceError
from serve_app.engines.fake import FakeAnswer, FakeEngine
from tests.unit.scripted_retriever import ScriptedRetriever

CLI = typer.Typer()
CLI.command()(ask)


def run(*args):
    return CliRunner().invoke(CLI, list(args))


def test_the_answer_is_printed_and_then_one_line_about_it(serving):
    url, _ = serving()
    result = run("hard", "--url", url)
    assert result.exit_code == 0
    answer, line = result.stdout.strip().split("\n")
    assert answer == "the large model says this"
    for part in ("route general", "adapter none", "confidence 0.05", "escalated to large-model", "cost $", "saved $-"):
        assert part in line


def test_passages_before_the_question_are_named(serving):
    answers = FakeEngine(default="a patent is valid for twenty years", adapters={"legal": "v1"})
    url, _ = serving(small=answers, retriever=ScriptedRetriever())
    result = run("How long?", "--model", "rag", "--url", url)
    assert result.stdout.strip().split("\n")[:2] == [
        "a patent is valid for twenty years",
        "[1] Patents · patents.md · 1 quote",
    ]


def test_the_base_url_of_a_client_is_taken_too(serving):
    url, _ = serving()
    assert run("hard", "--url", url + "/v1").exit_code == 0


def test_options_reach_the_server_and_json_is_one_object(serving):
    url, world = serving(overrides={"gateway": {"api_keys": {"me": "my-own-key"}}})
    result = run(
        "a contract", "--url", url + "/", "--key", "my-own-key", "--max-tokens", "2", "--json", "--system", "hm"
    )
    body = json.loads(result.stdout)
    assert body["text"] == "a small"
    assert body["finish_reason"] == "length"
    assert body["headrace"]["adapter"] == "legal"
    assert [message.role for message in world.small.calls[0].messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("fields", "args", "sentence"),
    [
        ({}, ["--model", "nope"], "The model 'nope' does not exist"),
        ({"overrides": {"gateway": {"api_keys": {"me": "my-own-key"}}}}, [], "No API key was given"),
        ({"small": FakeEngine(default=FakeAnswer("a b c d e f", fail_after=5))}, [], "failed after 5 tokens"),
    ],
)
def test_what_the_server_refuses_is_its_own_sentence(serving, fields, args, sentence):
    url, _ = serving(**fields)
    result = run("hi", "--url", url, *args)
    assert isinstance(result.exception, HeadraceError)
    assert sentence in str(result.exception)


def test_no_server_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = run("hi", "--url", f"http://127.0.0.1:{port}")
    assert isinstance(result.exception, HeadraceError)
    assert "make serve" in str(result.exception)


def test_a_bad_address_is_a_usage_error():
    assert run("hi", "--url", "nonsense").exit_code == 2


def test_a_client_that_leaves_a_real_connection_is_billed_as_cancelled(serving):
    url, world = serving(small=FakeEngine(default="word " * 400, token_s=0.005))
    body = {"model": "base", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    deadline = time.monotonic() + 2
    while not world.ledger.answers and time.monotonic() < deadline:
        time.sleep(0.01)
    [account] = world.ledger.answers.values()
    assert account.outcome == "cancelled"
    assert account.attempts[0].usage.completion_tokens < 200


@pytest.mark.parametrize("args", [["hi", "--key", "a\nb"], ["stray \udcff byte"]])
def test_what_no_request_can_carry_is_a_usage_error(args):
    assert run(*args, "--url", "http://127.0.0.1:1").exit_code == 2


def test_a_key_need_not_be_ascii(serving):
    url, _ = serving(overrides={"gateway": {"api_keys": {"me": "mein-schlüssel"}}})
    assert run("hi", "--url", url, "--key", "mein-schlüssel").exit_code == 0
