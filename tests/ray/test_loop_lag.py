"""User code shares the replica's loop with Serve (throughput mode): engine steps and SQL must never hold it up."""

import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

import openai
from asking import ask
from launching import Served

MEASURE_S, BOUND_MS = 5, 50


def test_no_loop_lags_over_50_ms_while_both_engines_are_busy(
    production: Served, openai_production: openai.OpenAI
) -> None:
    def one(model: str) -> None:
        ask(openai_production, "Tell me a long story.", model=model, max_tokens=60)

    command = [sys.executable, str(Path(__file__).parent / "handle_client.py"), production.ray_address, str(MEASURE_S)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        queries = [pool.submit(one, model) for model in ["base"] * 6 + ["large"] * 2 + ["auto"] * 2]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        for query in queries:
            query.result()
    lags_ms = json.loads(done.stdout.splitlines()[-1])
    assert set(lags_ms) == {"Gateway", "Router", "Specialists", "Fallback", "Ledger"}
    assert max(lags_ms.values()) < BOUND_MS, lags_ms
