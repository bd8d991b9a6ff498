"""The engine over vLLM, really: its own environment, a real model, a shipped adapter, the contract of all engines.

Skipped where HEADRACE_VLLM_PYTHON names no interpreter; docs/vllm.md tells how to make that environment.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve_app import adapters
from serve_app.engines.local import EngineOptions, LocalEngine
from tests.parts.engines.test_contract import OF_A_HOST
from tests.unit.engines.calls import ask, read

BASE = "smollm2-135m-instruct"
NUM_TOKENS = 24
ASKED = [
    (None, "What is the capital of France?"),
    (None, "Write a haiku about rain."),
    (None, "Name three fruits."),
    (None, "Tell me about a good way to spend a rainy afternoon."),
    ("code", "find all files with extension .txt in the current directory"),
    ("code", "reverse a list in python"),
    ("legal", "What makes a contract valid?"),
    ("legal", "This Agreement shall be governed by the laws of the State of New York."),
]
RUN_S = 900


@pytest.fixture(scope="session")
def report(vllm_python: str, model_files: Any, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `vllm_run.py` told."""
    model_files(BASE)
    folder = tmp_path_factory.mktemp("vllm")
    log, told = folder / "output.log", folder / "report.json"
    with log.open("w") as output:
        run = subprocess.run(
            [vllm_python, str(repo / "tests" / "models" / "vllm_run.py"), str(told)],
            input=json.dumps([(adapter, text, NUM_TOKENS) for adapter, text in ASKED]),
            stdout=output,
            stderr=output,
            text=True,
            timeout=RUN_S,
            env=os.environ | {"PYTHONPATH": str(repo)},
        )
    assert run.returncode == 0, log.read_text()[-4000:]
    report: dict[str, Any] = json.loads(told.read_text())
    return report


@pytest.mark.parametrize("name", OF_A_HOST)
def test_vllm_keeps_the_contract_of_all_engines(name: str, report: dict[str, Any]) -> None:
    assert report["contract"][name] == "passed"


@pytest.mark.parametrize("name", ["overloaded", "seeds", "prefix", "shares"])
def test_vllm_queues_samples_reuses_and_charges_as_engines_do(name: str, report: dict[str, Any]) -> None:
    assert report[name] == "passed"


def test_vllm_listens_on_loopback_only_and_leaves_no_process(report: dict[str, Any]) -> None:
    assert set(report["sockets"]) <= {"127.0.0.1", "::1"}
    assert report["left"] == []


async def test_vllm_answers_as_the_local_engine_does(report: dict[str, Any], model_files: Any) -> None:
    """Both in float32, greedy. Near ties may fall either way, so most answers have to agree and not all."""
    specs = [adapters.load(adapters.shipped(name)) for name in ("legal", "code")]
    options = EngineOptions(dtype="float32", linear="plain", max_context_tokens=128, max_rows=2)
    engine = LocalEngine(model_files(BASE), specs, options)
    await engine.start()
    try:
        local = [await read(engine, ask(text, adapter=one, max_tokens=NUM_TOKENS)) for one, text in ASKED]
    finally:
        await engine.close()
    num_equal = 0
    for deltas, told in zip(local, report["answers"], strict=True):
        tokens = [token for delta in deltas for token in delta.tokens]
        assert told["prompt_tokens"] == deltas[-1].usage.prompt_tokens, "the prompt is rendered alike"
        assert told["versions"] == sorted({delta.adapter_version or "" for delta in deltas})
        first, (token_id, _, logprob, entropy, margin, _) = tokens[0], told["tokens"][0]
        assert first.token_id == token_id
        assert (logprob, margin) == pytest.approx((first.logprob, first.margin), abs=0.01)
        assert 0 <= entropy <= first.entropy + 0.01, "a lower bound"
        num_equal += [token.token_id for token in tokens] == [one[0] for one in told["tokens"]]
    assert num_equal >= len(ASKED) - 2
