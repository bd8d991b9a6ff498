"""Where the vectors of questions come from."""

from collections.abc import Sequence
from typing import Protocol

from serve_app.cache.neighbours import Vector


class VectorSource(Protocol):
    """Makes vectors of questions."""

    @property
    def digest(self) -> str:
        """Identifies the encoder: a threshold holds for the one that it was fitted with."""
        ...

    async def vector(self, text: str) -> Vector | None:
        """Shape (dimension,), of length 1; None where the encoder would not read all of the text.

        Two texts that differ only in what is not read would have equal vectors. Raises a HeadraceError where the
        encoder cannot be asked now.
        """
        ...


class VectorMaker(Protocol):
    """Makes many vectors at once, for scripts; may block."""

    def vectors(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Of each text as `VectorSource.vector`, in order."""
        ...
