"""The time of a search through the handle of a retriever's replica, in a Ray of its own.

python -m bench.rag.hop FOLDER COLLECTION < questions.json
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench import machine
from serve_app.core import Search

_TIMEOUT_S = 240
_WARM_UP = 20


def through_a_handle(folder: str, collection: str, questions: Sequence[str]) -> dict[str, Any]:
    """`retrieval_p50_ms` and `retrieval_p99_ms`, one search at a time, each from the call to its result."""
    command = [sys.executable, "-m", __name__, folder, collection]
    done = subprocess.run(
        command,
        input=json.dumps(list(questions)),
        text=True,
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT_S,
        cwd=machine.REPO,
    )
    done.check_returncode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Start Ray and one replica, search, print."""
    from serve_app.deployments.switches import every_node

    os.environ |= every_node()
    import ray
    from ray import serve

    from serve_app.config.rag import RagSettings
    from serve_app.deployments.ingest import StorePlace
    from serve_app.deployments.retriever import RetrieverServer

    folder, collection = sys.argv[1:]
    questions = json.load(sys.stdin)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    try:
        place = StorePlace(RagSettings(), folder, "smollm2-135m-instruct", 1)
        handle = serve.run(serve.deployment(RetrieverServer).bind(place), name="hop", route_prefix=None)
        took = asyncio.run(_timed(handle, collection, questions))
        p50, p99 = np.percentile(took, [50, 99])
        print(json.dumps({"retrieval_p50_ms": round(float(p50), 2), "retrieval_p99_ms": round(float(p99), 2)}))
    finally:
        ray.shutdown()  # ends Serve as well: the cluster is its own


async def _timed(handle: Any, collection: str, questions: Sequence[str]) -> list[float]:
    """Milliseconds of each search, the replica being warm."""
    took = []
    for question in [*questions[:_WARM_UP], *questions]:
        begun_s = time.perf_counter()
        await handle.retrieve.remote(Search(question, collection))
        took.append((time.perf_counter() - begun_s) * 1000)
    return took[_WARM_UP:]


if __name__ == "__main__":
    main()
