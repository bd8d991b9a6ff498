"""Engines with a script, named in settings as `engine: headrace_scripted:engine`; found through PYTHONPATH.

The first word of the last user message chooses: `unsure` (the small model is), `slow` (2,000 words, ten milliseconds
each), `broken` (fails after two words), `stuck` (a call hangs, one that is made again does not), `refuses` (fails where
the second word is the call's adapter version); anything else is answered with the model's name. Ends of calls, and that
one hangs, are written to the file HEADRACE_NOTES. A replica of the large model does not come up while there is a file
HEADRACE_HOLD.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call, Delta
from serve_app.engines.fake import FakeAnswer, FakeEngine

TOKEN_S = 0.01


def note(line: str) -> None:
    with Path(os.environ["HEADRACE_NOTES"]).open("a") as notes:
        notes.write(f"{line}\n")


class NotedEngine(FakeEngine):
    """Writes down how each call ended, where a test in another process can read it."""

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        if _word(call) == "stuck" and call.call_id.count(":") == 2:  # the id of one made again has a number more
            note(f"{call.call_id} hangs")
            try:
                await asyncio.Event().wait()
            finally:
                note(f"{call.call_id} cancelled")
        try:
            async with aclosing(super().generate(call)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            note(f"{call.call_id} {'cancelled' if call.call_id in self.cancelled else 'ended'}")


def _word(call: Call) -> str:
    text = call.messages[-1].content if call.messages else call.prompt or ""
    return text.split(maxsplit=1)[0]


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    while "smollm" not in node.model and Path(os.environ.get("HEADRACE_HOLD", "")).is_file():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.05)

    def script(call: Call) -> FakeAnswer:
        word = _word(call)
        if word == "slow":
            return FakeAnswer(" ".join(f"word{number}" for number in range(2_000)))
        if word == "broken":
            return FakeAnswer("one two three four", fail_after=2)
        if word == "refuses" and call.messages[-1].content.split()[1] == call.adapter_version:
            return FakeAnswer("nothing", fail_after=0)
        unsure = word == "unsure" and "smollm" in node.model
        return FakeAnswer(f"this is {node.model}", logprob=-3.0 if unsure else -0.05)

    return NotedEngine(
        script, adapters=dict.fromkeys(adapters, "v1"), model=node.model, token_s=TOKEN_S, max_calls=node.max_rows
    )
