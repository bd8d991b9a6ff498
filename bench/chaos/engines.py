"""Engines with a script, for replicas: named in settings as `engine: bench.chaos.engines:engine`.

The first word of the last user message chooses: `unsure` (the small model is, so the large one is asked), `slow` (100
words in half a second), `long` (400 in two seconds), `longest` (1,600 in eight), all of them up to `max_tokens`;
anything else is answered with as many words, 4 to 11, as its text decides. Tokens are words, so a client can count what
it was sent.
"""

import zlib
from collections.abc import Mapping
from functools import partial

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call
from serve_app.engines.fake import FakeAnswer, FakeEngine

TOKEN_S = 0.005
WORDS = {"slow": 100, "long": 400, "longest": 1600}


def scripted(call: Call, sure: bool) -> FakeAnswer:
    """The answer to a call; `sure`: also of what the small model does not know."""
    text = call.messages[-1].content if call.messages else call.prompt or ""
    word = text.split(maxsplit=1)[0]
    num_words = WORDS.get(word) or 4 + zlib.crc32(text.encode()) % 8
    answer = " ".join(f"word{number}" for number in range(num_words))
    return FakeAnswer(answer, logprob=-3.0 if word == "unsure" and not sure else -0.05)


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> FakeEngine:
    """See `serve_app.engines.backends`."""
    return FakeEngine(
        partial(scripted, sure="smollm" not in node.model),
        adapters=dict.fromkeys(adapters, "v1"),
        model=node.model,
        token_s=TOKEN_S,
        max_calls=node.max_rows,
    )
