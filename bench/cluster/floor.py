"""What Ray Serve itself adds to a query: a bare ingress and one hop to a deployment that yields the same four deltas.

    python -m bench.cluster.floor --config SETTINGS --port PORT      as the launcher, until SIGINT

The shipped switches are on. There are no checks, prices, journal or ledger: whatever answers over Serve with one hop
costs at least so much, on this machine and with this version of Serve.
"""

import argparse
import json
import os
import signal
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bench.cluster.known import KnownEngine
from serve_app.config import CONFIG_ENV, load
from serve_app.core import Call, Delta, Message, SamplingParams
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine


class Words:
    """The engine's side: its deltas, one by one."""

    def __init__(self) -> None:
        self._engine = KnownEngine("floor", {}, 64, 64, first_s=0.0, hold_s=0.0)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """See `KnownEngine`."""
        async for delta in self._engine.generate(call):
            yield delta


class Bare:
    """The ingress: reads a chat request, and answers in as many words, as a stream or whole."""

    def __init__(self, words: Any) -> None:
        """`words`: the handle of `Words`."""
        self._words = words.options(stream=True)

    def __serve_build_asgi_app__(self) -> Starlette:
        """Serve calls this in the replica."""
        return Starlette(
            routes=[Route("/readyz", _ready), Route("/v1/chat/completions", self._answer, methods=["POST"])]
        )

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
        deltas = self._words.generate.remote(Call("floor", SamplingParams(), messages))
        if body["stream"]:
            return StreamingResponse(_events(deltas), media_type="text/event-stream")
        text = "".join([delta.text async for delta in deltas])
        return JSONResponse({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})


async def _ready(request: Request) -> Response:
    return PlainTextResponse("ok")


async def _events(deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes]:
    async for delta in deltas:
        chunk = {"choices": [{"index": 0, "delta": {"content": delta.text}, "finish_reason": delta.finish_reason}]}
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def main() -> None:
    """Serve it until SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="settings: those of the gateway's deployment count")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--graph", help="not looked at, like the next: the launcher has them")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    settings, report = load(wanted.config), Reporter(as_json=True)
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= one_machine(run_dir) | {CONFIG_ENV: wanted.config}

    from ray import serve  # reads the environment above

    from serve_app.deployments.stack import Stack

    resources = settings.deployments.gateway
    options = {
        "max_ongoing_requests": resources.max_ongoing_requests,
        "ray_actor_options": {"num_cpus": resources.num_cpus},
    }
    words = serve.deployment(Words, **options).bind()
    bare = serve.deployment(serve.ingress()(Bare), **options).bind(words)
    stack = Stack(settings, run_dir, wanted.port)
    try:
        stack.start_ray()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stack.deploy(bare, "floor", report)
        report.ready(stack.url, stack.ray_address)
        signal.pause()
    except KeyboardInterrupt:
        report.stopping()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop(report, keep_logs=False)


if __name__ == "__main__":
    main()
