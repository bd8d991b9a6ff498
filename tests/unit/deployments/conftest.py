"""Handles without Ray: a plain object behind the few methods of a DeploymentHandle that ours use."""

from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import pytest

from serve_app.streams import merged


class PlainResponse:
    """One streaming call. `cancel` closes the callee's generator, as Serve does."""

    def __init__(self, deltas: AsyncGenerator[Any]) -> None:
        self._deltas = deltas
        self.was_cancelled = False

    def __aiter__(self) -> AsyncGenerator[Any]:
        return self._deltas

    def cancel(self) -> None:
        self.was_cancelled = True


class PlainMethod:
    def __init__(self, handle: "PlainHandle", name: str, stream: bool) -> None:
        self._handle, self._name, self._stream = handle, name, stream

    def remote(self, *arguments: Any) -> PlainResponse | Awaitable[Any]:
        result = getattr(self._handle.target, self._name)(*arguments)
        if not self._stream:
            return result  # type: ignore[no-any-return]
        if self._name == "generate":  # as `EngineServer` has it
            result = merged([result])
        self._handle.responses.append(PlainResponse(result))
        return self._handle.responses[-1]


class PlainHandle:
    """`target` is the object behind; `responses` are the streaming calls made so far."""

    def __init__(self, target: object) -> None:
        self.target, self._stream = target, False
        self.responses: list[PlainResponse] = []

    def options(self, *, stream: bool = False, **others: Any) -> "PlainHandle":
        other = PlainHandle(self.target)
        other._stream, other.responses = stream, self.responses
        return other

    def __getattr__(self, name: str) -> PlainMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        return PlainMethod(self, name, self._stream)


@pytest.fixture
def plain_handle() -> type[PlainHandle]:
    return PlainHandle
