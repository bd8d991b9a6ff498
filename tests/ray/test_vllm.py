"""The cascade with vLLM as specialist, in its own environment, and vLLM's own OpenAI server as fallback.

The engine that asks such servers is put to the contract of all engines too, over that server and over this gateway.
Skipped where HEADRACE_VLLM_PYTHON names no interpreter; docs/vllm.md tells how to make that environment. The last test
kills a replica, so nothing may follow it.
"""

import inspect
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import psutil
import pytest
from asking import account, ask, text_of
from conftest import client, settings_file
from launching import Served, free_port, launch
from test_sockets import is_loopback, open_sockets

from serve_app import adapters, catalogue
from serve_app.engines.remote import RemoteEngine
from serve_app.engines.vllm.arguments import set_environment
from tests.parts.engines.openai_server import node_of
from tests.parts.engines.test_contract import OF_EVERY_ENGINE
from tests.unit.engines import calls

BASE = "smollm2-135m-instruct"
CONTEXT_TOKENS = 128
START_S, END_S = 300, 60
SURE, UNSURE = "Repeat after me: one two three four five six seven eight", "CMake cannot find Boost"
FIND = "find all files with extension .txt in the current directory"


@pytest.fixture(scope="module")
def vllm_server(vllm_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's OpenAI server: the base as `large`, one adapter. Yields the root of its API."""
    model, port = catalogue.pull(BASE).path, free_port()
    command = [vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(model), "--served-model-name", "large", "--generation-config", "vllm"]
    command += ["--enable-lora", "--lora-modules", f"legal={adapters.shipped('legal')}", "--max-lora-rank", "16"]
    command += ["--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", "4", "--kv-cache-memory-bytes", str(64 << 20)]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with pytest.MonkeyPatch.context() as patch, log.open("w") as output:
        patch.setattr(os, "environ", dict(os.environ))
        set_environment(threads=1)
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ, start_new_session=True)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline_s = time.monotonic() + START_S
        while not listens(url):
            assert process.poll() is None and time.monotonic() < deadline_s, log.read_text()[-4000:]
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(END_S)


def listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def mixed(vllm_python: str, vllm_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The graph: specialists on vLLM, the fallback elsewhere."""
    folder = tmp_path_factory.mktemp("mixed")
    specialists = {"engine": "vllm", "python": vllm_python, "max_rows": 4, "gate_cores": None}
    specialists |= {"max_context_tokens": CONTEXT_TOKENS, "cache_mb": 64}
    server = {"base_url": vllm_server, "model": "large"}
    fallback = {"engine": "openai", "gate_cores": None, "remote": {"servers": [server]}}
    config = settings_file(folder, specialists=specialists, fallback=fallback)
    served = launch("cascade", config, folder / "stderr.log")
    yield served
    served.stop()


@pytest.fixture
def asked(mixed: Served) -> Iterator[openai.OpenAI]:
    with client(mixed) as connected:
        yield connected


@pytest.fixture(params=["vllm", "gateway"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[RemoteEngine]:
    """`engine: openai` over vLLM's server and over our gateway."""
    if request.param == "vllm":
        url, names = request.getfixturevalue("vllm_server"), {"model": "large", "adapters": {"legal": "legal"}}
    else:
        url = f"{request.getfixturevalue('mixed').url}/v1"
        names = {"model": "base", "adapters": {"legal": "legal"}}
    started = RemoteEngine(node_of(url, server=names), ["legal"])
    await started.start()
    yield started
    await started.close()


@pytest.mark.parametrize("name", OF_EVERY_ENGINE)
async def test_an_openai_server_keeps_the_contract_of_all_engines(name: str, engine: RemoteEngine) -> None:
    fixtures = {"engine": engine, "asking": calls.ask, "reading": calls.read}
    test = OF_EVERY_ENGINE[name]
    await test(**{one: fixtures[one] for one in inspect.signature(test).parameters})


def test_an_adapter_on_vllm_answers_streamed_and_whole_and_is_billed_alike(mixed: Served, asked: openai.OpenAI) -> None:
    whole = ask(asked, FIND, model="code", max_tokens=32)
    chunks = list(ask(asked, FIND, model="code", max_tokens=32, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content and "find" in text_of(chunks)
    bills = [account(mixed, answer.headrace["query_id"]) for answer in (whole, chunks[-1])]
    for bill in bills:
        (attempt,) = bill["attempts"]
        assert (attempt["node"], attempt["adapter"], attempt["outcome"]) == ("specialists", "code", "accepted")
        assert attempt["adapter_version"] == adapters.load(adapters.shipped("code")).version
        assert attempt["usage"]["busy_s"] > 0 and attempt["cost_usd"] > 0
    assert (
        bills[0]["attempts"][0]["usage"]["completion_tokens"] == bills[1]["attempts"][0]["usage"]["completion_tokens"]
    )


def test_the_cascade_keeps_a_sure_answer_and_escalates_an_unsure_one(mixed: Served, asked: openai.OpenAI) -> None:
    kept = ask(asked, SURE, model="cascade", max_tokens=24)
    assert not kept.headrace["escalated"] and kept.headrace["confidence"] > 0.5
    whole = ask(asked, UNSURE, model="cascade", max_tokens=24, logprobs=True, top_logprobs=3)
    *_, last = chunks = list(ask(asked, UNSURE, model="cascade", max_tokens=24, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content and last.headrace["escalated"]
    assert all(len(one.top_logprobs) == 3 for one in whole.choices[0].logprobs.content)
    bill: Any = account(mixed, whole.headrace["query_id"])
    first, second = bill["attempts"]
    assert (first["node"], first["outcome"]) == ("specialists", "escalated")
    assert (second["node"], second["outcome"]) == ("fallback", "accepted")
    assert second["usage"]["completion_tokens"] == 24 and second["usage"]["prompt_tokens"] > 0
    assert bill["cost_usd"] == pytest.approx(first["cost_usd"] + second["cost_usd"]) and second["cost_usd"] > 0


def test_a_client_that_leaves_frees_its_row_and_is_billed_for_what_there_was(
    mixed: Served, asked: openai.OpenAI
) -> None:
    with ask(asked, "Count to a thousand.", model="base", max_tokens=90, stream=True) as stream:
        query_id = next(iter(stream)).id.removeprefix("chatcmpl-")
    bill = account(mixed, query_id)
    assert bill["outcome"] == "cancelled" and bill["attempts"][0]["usage"]["completion_tokens"] < 90


def test_a_prompt_that_does_not_fit_is_the_caller_s_mistake(asked: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=f"the context holds {CONTEXT_TOKENS}"):
        ask(asked, "word " * 200, model="base")


def test_vllm_s_processes_listen_on_loopback_too(mixed: Served) -> None:
    sockets = open_sockets(mixed.processes())
    assert "VLLM" in " ".join(sockets.values())
    assert not {address: name for address, name in sockets.items() if not is_loopback(address[0])}


def test_vllm_s_processes_end_with_a_replica_that_was_killed(mixed: Served) -> None:
    (worker,) = [one for one in mixed.processes() if one.name().startswith("VLLM::Worker")]
    engine_process = worker.parent()
    assert engine_process is not None
    replica = engine_process.parent()
    assert replica is not None and "Specialists" in " ".join(replica.cmdline())
    replica.kill()
    _, alive = psutil.wait_procs([worker, engine_process], timeout=END_S)
    assert not alive
