"""Does every node answer? What /readyz shows. A fallback without a replica is `cold`: to ask it would start one."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Protocol

from serve_app.core import Engine, HeadraceError, Ledger, Message, Router
from serve_app.patterns.warmth import Waking

_TIMEOUT_S = 5.0
_GREETING = (Message("user", "hello"),)


class Answers(Protocol):
    """A node that is only asked whether it answers."""

    async def alive(self) -> None:
        """Raises HeadraceError where it does not."""
        ...


class NodeProbe:
    """Asks all nodes of a graph at once; call it for node name -> "ok", "cold", or why it does not answer."""

    def __init__(
        self,
        specialists: Engine,
        fallback: Engine | None,
        router: Router | None,
        ledger: Ledger,
        waking: Waking | None = None,
        retriever: Answers | None = None,
    ) -> None:
        """`waking`: of a fallback that may have no replica."""
        self._specialists, self._fallback, self._router, self._ledger = specialists, fallback, router, ledger
        self._waking, self._retriever = waking, retriever

    async def __call__(self) -> Mapping[str, str]:
        """Takes at most five seconds."""
        questions: dict[str, Awaitable[object]] = {
            "specialists": self._specialists.info(),
            "ledger": self._ledger.query(""),
        }
        is_cold = self._waking is not None and self._waking.is_cold
        if self._fallback is not None and not is_cold:
            questions["fallback"] = self._fallback.info()
        if self._router is not None:
            questions["router"] = self._router.score(_GREETING)
        if self._retriever is not None:
            questions["retriever"] = self._retriever.alive()
        answers = await asyncio.gather(*map(_ask, questions.values()))
        return dict(zip(questions, answers, strict=True)) | ({"fallback": "cold"} if is_cold else {})


async def _ask(question: Awaitable[object]) -> str:
    try:
        await asyncio.wait_for(question, _TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {_TIMEOUT_S:g} s"
    except HeadraceError as error:
        return str(error)
    return "ok"
