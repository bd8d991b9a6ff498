"""Calls, and whole answers: for tests of every engine, in whichever environment they run."""

from __future__ import annotations

from typing import Any

from serve_app.core import Call, Delta, Message, SamplingParams


def ask(text: str = "hello", call_id: str = "call", adapter: str | None = None, **sampling: Any) -> Call:
    return Call(call_id, SamplingParams(**sampling), (Message("user", text),), adapter=adapter)


async def read(engine: Any, call: Call) -> list[Delta]:
    return [delta async for delta in engine.generate(call)]
