"""An engine whose adapters say who they are, named in settings as `engine: headrace_versioned:engine`.

A version answers with its manifest's description, whatever it was called by. Each time the live ones change, a line
with the replica's process id and their names and versions goes to the file HEADRACE_NOTES.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from serve_app.adapters import AdapterSpec
from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call
from serve_app.engines.fake import FakeAnswer, FakeEngine

TOKEN_S = 0.01


def note(line: Mapping[str, object]) -> None:
    with Path(os.environ["HEADRACE_NOTES"]).open("a") as notes:
        notes.write(json.dumps(line) + "\n")


class TellingEngine(FakeEngine):
    """Tells what it holds."""

    async def add_version(self, adapter: AdapterSpec) -> None:
        self.answers = {**self.answers, adapter.version: adapter.manifest.description}
        await super().add_version(adapter)

    async def set_live(self, names: Mapping[str, str]) -> None:
        await super().set_live(names)
        note({"pid": os.getpid(), "live": dict(names)})


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    def script(call: Call) -> FakeAnswer:
        return FakeAnswer("this is nobody in particular")

    return TellingEngine(script, model=node.model, token_s=TOKEN_S, max_calls=node.max_rows)
