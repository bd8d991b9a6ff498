"""Engines with a script, named in settings as `engine: headrace_scripted:engine`; found through PYTHONPATH.

The first word of the last user message chooses: `unsure` (the small model is), `slow` (500 words), `broken` (fails
after two words); anything else is answered with the model's name. Ends of calls are written to the file HEADRACE_NOTES.
"""

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
        try:
            async with aclosing(super().generate(call)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            note(f"{call.call_id} {'cancelled' if call.call_id in self.cancelled else 'ended'}")


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    def script(call: Call) -> FakeAnswer:
        text = call.messages[-1].content if call.messages else call.prompt or ""
        word = text.split(maxsplit=1)[0]
        if word == "slow":
            return FakeAnswer(" ".join(f"word{number}" for number in range(500)))
        if word == "broken":
            return FakeAnswer("one two three four", fail_after=2)
        unsure = word == "unsure" and "smollm" in node.model
        return FakeAnswer(f"this is {node.model}", logprob=-3.0 if unsure else -0.05)

    return NotedEngine(
        script, adapters=dict.fromkeys(adapters, "v1"), model=node.model, token_s=TOKEN_S, max_calls=node.max_rows
    )
