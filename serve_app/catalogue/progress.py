"""How a pull tells what it is doing. The CLI draws it; a library call may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called from the thread that pulls, in order."""

    def step(self, description: str, total_bytes: int | None = None) -> None:
        """A new step begins and the last one is done; `total_bytes` None: nobody can tell how far it is."""
        ...

    def at(self, done_bytes: int) -> None:
        """The current step has come so far."""
        ...

    def note(self, message: str) -> None:
        """One sentence worth reading, such as that another pull is being waited for."""
        ...

    def downloaded(self, num_bytes: int) -> None:
        """So many bytes more came over the network."""
        ...


class Silent:
    """Shows nothing."""

    def step(self, description: str, total_bytes: int | None = None) -> None: ...

    def at(self, done_bytes: int) -> None: ...

    def note(self, message: str) -> None: ...

    def downloaded(self, num_bytes: int) -> None: ...
