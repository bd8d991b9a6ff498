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
TRIES = 3
"""A machine that is busy with something else is late once, not always."""


def test_no_loop_lags_over_50_ms_while_both_engines_are_busy(
    production: Served, openai_production: openai.OpenAI
) -> None:
    def one(model: str) -> None:
        ask(openai_production, "Tell me a long story.", model=model, max_tokens=60)

    def lags_ms() -> dict[str, float]:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            queries = [pool.submit(one, model) for model in ["base"] * 6 + ["large"] * 2 + ["auto"] * 2]
            done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
            for query in queries:
                query.result()
        return dict(json.loads(done.stdout.splitlines()[-1]))

    command = [sys.executable, str(Path(__file__).parent / "handle_client.py"), production.ray_address, str(MEASURE_S)]
    seen: list[dict[str, float]] = []
    while not seen or (len(seen) < TRIES and max(seen[-1].values()) >= BOUND_MS):
        seen.append(lags_ms())
    assert set(seen[-1]) == {"Gateway", "Router", "Specialists", "Fallback", "Ledger"}
    assert max(seen[-1].values()) < BOUND_MS, seen
