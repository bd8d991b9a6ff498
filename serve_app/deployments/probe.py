"""Does every node answer? What /readyz shows."""

import asyncio
from collections.abc import Awaitable, Mapping

from serve_app.core import Engine, HeadraceError, Ledger, Message, Router

_TIMEOUT_S = 5.0
_GREETING = (Message("user", "hello"),)


class NodeProbe:
    """Asks all nodes of a graph at once; call it for node name -> "ok", or why it does not answer."""

    def __init__(self, specialists: Engine, fallback: Engine | None, router: Router | None, ledger: Ledger) -> None:
        self._specialists, self._fallback, self._router, self._ledger = specialists, fallback, router, ledger

    async def __call__(self) -> Mapping[str, str]:
        """Takes at most five seconds."""
        questions: dict[str, Awaitable[object]] = {
            "specialists": self._specialists.info(),
            "ledger": self._ledger.query(""),
        }
        if self._fallback is not None:
            questions["fallback"] = self._fallback.info()
        if self._router is not None:
            questions["router"] = self._router.score(_GREETING)
        answers = await asyncio.gather(*map(_ask, questions.values()))
        return dict(zip(questions, answers, strict=True))


async def _ask(question: Awaitable[object]) -> str:
    try:
        await asyncio.wait_for(question, _TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {_TIMEOUT_S:g} s"
    except HeadraceError as error:
        return str(error)
    return "ok"
