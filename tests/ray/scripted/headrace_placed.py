"""Engines that say which process they run in, named in settings as `engine: headrace_placed:engine`.

An answer begins with the process id; to `hold` it goes on for a long time.
"""

import os
from collections.abc import Mapping

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call
from serve_app.engines.fake import FakeAnswer, FakeEngine

TOKEN_S = 0.01


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    def script(call: Call) -> FakeAnswer:
        held = call.messages[-1].content == "hold"
        return FakeAnswer(f"{os.getpid()} " + " ".join(["word"] * (5000 if held else 3)))

    versions = {name: f"{name}-1" for name in adapters}
    return FakeEngine(script, adapters=versions, model=node.model, token_s=TOKEN_S, max_tokens=6000)
