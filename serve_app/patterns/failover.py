"""What is done when a call fails: it is made again from the start, or another node is asked. Never after text went out.

ReplicaLost, nothing sent    the same call again, `Node.retries` times at most          from_start()
still failed, nothing sent   the cascade asks the other model, once                     Tried
anything sent                the error is the client's: what it has seen is not retracted
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from serve_app.core import DeadlineExceeded, Delta, EngineError, HeadraceError, Overloaded, PromptTooLong, ReplicaLost
from serve_app.patterns.trace import Trace

_ANOTHER_MAY_ANSWER = (EngineError, Overloaded, PromptTooLong)


def may_another_answer(error: HeadraceError) -> bool:
    """Whether another node may answer: not where the mistake is the client's, nor where the query's time is up."""
    return isinstance(error, _ANOTHER_MAY_ANSWER) and not isinstance(error, DeadlineExceeded)


async def from_start(
    begin: Callable[[], AsyncGenerator[Delta]], node: str, retries: int, trace: Trace
) -> AsyncGenerator[Delta]:
    """The deltas of `begin()`, or of the next one where the replica was lost before any of them went out.

    Where the client gets its answer whole, none goes out before the last one is there. `node` is who is asked.
    """
    for num_left in reversed(range(retries + 1)):
        went_out = False
        try:
            async with aclosing(begin() if trace.streamed else _whole(begin(), trace)) as deltas:
                async for delta in deltas:
                    went_out = True
                    yield delta
            return
        except ReplicaLost:
            if went_out or not num_left or trace.is_late:
                raise
            trace.retried.append(node)


async def _whole(source: AsyncGenerator[Delta], trace: Trace) -> AsyncGenerator[Delta]:
    held: list[Delta] = []
    async with aclosing(source) as deltas:
        async for delta in deltas:
            if delta.text:
                trace.first_token()
            held.append(delta)
    for delta in held:
        yield delta


class Tried:
    """A node's answer, in whose place another node may answer. Iterate `deltas()` to its end, then look at `error`."""

    def __init__(self, source: AsyncGenerator[Delta]) -> None:
        self._source = source
        self.error: HeadraceError | None = None
        """Why there was no answer: the node failed, was full, or has too short a context. None: it was given."""

    async def deltas(self) -> AsyncGenerator[Delta]:
        """Pass the deltas on.

        Raises what breaks an answer off that has begun, what is the client's own mistake, and DeadlineExceeded, since
        nobody else has time either.
        """
        went_out = False
        try:
            async with aclosing(self._source) as source:
                async for delta in source:
                    went_out = True
                    yield delta
        except HeadraceError as error:
            if went_out or not may_another_answer(error):
                raise
            self.error = error


def because(who: str, error: HeadraceError | str) -> str:
    """For the account.

    >>> because("the router", "It did not answer within 2 s.")
    'the router failed: It did not answer within 2 s'
    """
    return f"{who} failed: {str(error).rstrip('.')}"
