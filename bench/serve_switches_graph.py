"""Run as a program: the graph `multi_lora` with a scripted engine, under other Serve switches than the shipped ones.

python -m bench.serve_switches_graph SETTINGS_YAML SWITCHES_JSON

A switch that is null is taken out of the environment. Prints {"url"} when it answers, ends when stdin does, as Ctrl-C
ends `headrace serve`, and prints {"stop_s"} last. The launcher's own events are between.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from serve_app.config import CONFIG_ENV, load
from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine
from serve_app.engines.fake import FakeEngine

GRAPH = "multi_lora"
STREAM_WORDS, WHOLE_WORDS = 200, 8


def main() -> None:
    path, switches = sys.argv[1], json.loads(sys.argv[2])
    settings = load(path)
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= one_machine(run_dir) | {CONFIG_ENV: path}
    for name, value in switches.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    from serve_app.deployments.stack import Stack, application

    stack, report = Stack(settings, run_dir, settings.gateway.port), Reporter(as_json=True)
    try:
        app = application(GRAPH)
        stack.start_ray()
        stack.deploy(app, GRAPH, report)
        print(json.dumps({"url": stack.url}), flush=True)
        sys.stdin.read()
    finally:
        began_s = time.monotonic()
        stack.stop(report, keep_logs=False)
    print(json.dumps({"stop_s": round(time.monotonic() - began_s, 1)}))


def answer(call: Call) -> str:
    """At once, all of it: what is measured is the way to the engine and back."""
    text = call.messages[-1].content
    num_words = STREAM_WORDS if text.startswith("stream") else WHOLE_WORDS
    return " ".join(["word"] * num_words)


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    """See `serve_app.engines.backends`."""
    return FakeEngine(
        answer,
        adapters=dict.fromkeys(adapters, "v1"),
        model=node.model,
        max_calls=node.max_rows,
    )


if __name__ == "__main__":
    main()
