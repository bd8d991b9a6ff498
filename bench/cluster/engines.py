"""Scripted engines and a scripted router for a cluster without GPUs or models.

The first word of the last user message chooses, as in `bench.chaos.engines`, and two words more make calls that last:
`heavy` keeps the small model busy for a second, `deep` leaves it unsure at once and keeps the large one busy as long.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import cast

from bench.chaos.engines import TOKEN_S, scripted
from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call, Delta, EngineInfo, Message, RouteScore
from serve_app.deployments.lag import Measured
from serve_app.deployments.loopback import bind_to_node
from serve_app.engines.fake import FakeAnswer, FakeEngine

LONG_S = 1.0
"""How long a call that lasts waits for its first token."""
LONG_WORDS = 30


class ClusterEngine:
    """`core.Engine`: two scripted ones, the second for calls that last."""

    def __init__(self, is_small: bool, quick: FakeEngine, lasting: FakeEngine) -> None:
        self._long = "heavy" if is_small else "deep"
        self._quick, self._lasting = quick, lasting

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """The scripted answer."""
        engine = self._lasting if _word(call) == self._long else self._quick
        async with aclosing(cast(AsyncGenerator[Delta], engine.generate(call))) as deltas:
            async for delta in deltas:
                yield delta

    async def info(self) -> EngineInfo:
        """Of the first."""
        return await self._quick.info()


def answer(call: Call, is_small: bool) -> FakeAnswer:
    """The answer to a call; only the small model is ever unsure."""
    word = _word(call)
    if word == ("heavy" if is_small else "deep"):
        return FakeAnswer(" ".join(f"word{number}" for number in range(LONG_WORDS)))
    if is_small and word == "deep":
        return FakeAnswer("perhaps so", logprob=-3.0)
    return scripted(call, sure=not is_small)


async def engine(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> ClusterEngine:
    """See `serve_app.engines.backends`."""
    is_small = "smollm" in node.model
    fake = partial(
        FakeEngine,
        partial(answer, is_small=is_small),
        adapters=dict.fromkeys(adapters, "v1"),
        model=node.model,
        token_s=TOKEN_S,
        max_calls=node.max_rows,
    )
    return ClusterEngine(is_small, fake(), fake(first_token_s=LONG_S))


class ScriptedRouter(Measured):
    """The deployment `Router` without an encoder: every query is of the default route."""

    def __init__(self) -> None:
        bind_to_node()

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """See `core.Router`."""
        return RouteScore("general", 1.0, {"general": 1.0})


def _word(call: Call) -> str:
    """The one that chooses."""
    text = call.messages[-1].content if call.messages else call.prompt or ""
    return text.split(maxsplit=1)[0]
