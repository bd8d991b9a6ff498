"""Documents are taken in by Ray tasks, in processes of their own: searches go on meanwhile.

A task that dies with its process or its node runs again elsewhere. That is safe, because a document is written whole or
not at all, and again is the same.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from serve_app.catalogue import resolve
from serve_app.config.rag import RagSettings
from serve_app.core import CatalogueError, Overloaded, RetrieverError
from serve_app.deployments.results import result
from serve_app.rag import Document, IngestReport

if TYPE_CHECKING:
    from serve_app.rag.store import DocumentStore

_LOG = logging.getLogger("ray.serve")
_RETRIES = 3
"""Of a task whose process or node died."""
_AT_ONCE = 1
"""Tasks of one replica: more would take turns on the same cores."""
_MAX_WAITING = 16
_WITHIN_S = 600.0
_NICENESS = 10
"""Of a task's process: queries go first."""
_OWN_PROCESS = {"env_vars": {"HEADRACE_TASK": "ingest"}}
"""A worker with another environment is not shared with replicas, which must not be nice."""


@dataclass(frozen=True)
class StorePlace:
    """Where a document store lies and how it is opened, for whichever node does."""

    settings: RagSettings
    store: str
    """An absolute path or an object-store address."""
    small_model: str
    """Whose tokens are counted."""
    threads: int
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """Of the nodes where documents may be taken in."""

    def open(self) -> DocumentStore:
        """Blocks while the encoder is loaded.

        Raises CatalogueError without the encoder, ConfigError without the extra `rag`, RetrieverError.
        """
        from serve_app.rag.store import DocumentStore

        encoder = resolve(self.settings.encoder).path
        return DocumentStore.open(self.settings, self.store, encoder, self._tokenizer(encoder), self.threads)

    def _tokenizer(self, encoder: Path) -> Path:
        """Where the small base is a server elsewhere its tokenizer is not here, and the encoder's counts."""
        try:
            folder = resolve(self.small_model).path
        except CatalogueError:
            folder = encoder
        return folder / "tokenizer.json"


class Intake:
    """Starts the tasks of one replica. For one event loop."""

    def __init__(self, place: StorePlace) -> None:
        self._place = place
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting: set[asyncio.Task[IngestReport]] = set()

    async def ingest(self, documents: Sequence[Document], collection: str, key_id: str | None) -> IngestReport:
        """Returns when the documents are there. A caller that leaves stops nothing.

        Raises Overloaded while too many wait, and RetrieverError where it takes too long or processes keep dying.
        """
        if len(self._waiting) >= _MAX_WAITING:
            raise Overloaded(f"{len(self._waiting)} requests with documents wait to be taken in; try again in 5 s.", 5)
        task = asyncio.create_task(self._turn(tuple(documents), collection, key_id))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return await asyncio.shield(task)

    async def _turn(self, documents: tuple[Document, ...], collection: str, key_id: str | None) -> IngestReport:
        async with self._turns:
            reference = self._task.remote(self._place, documents, collection, key_id)
            try:
                async with asyncio.timeout(_WITHIN_S):
                    report: IngestReport = await result(reference, "ingest", RetrieverError)
            except TimeoutError:
                ray.cancel(reference, force=True)
                raise RetrieverError(
                    f"The documents were not taken in within {_WITHIN_S:g} s; send fewer, or smaller ones, at a time."
                ) from None
            _LOG.info("%d documents, %d chunks in %.1f s", report.documents, report.chunks, report.seconds)
            return report

    @functools.cached_property
    def _task(self) -> Any:
        """Made once: Ray stores the function in the cluster for each that is made, for as long as the cluster lives."""
        labels = {"label_selector": dict(self._place.node_labels)} if self._place.node_labels else {}
        return ray.remote(num_cpus=0, max_retries=_RETRIES, runtime_env=_OWN_PROCESS, **labels)(_take_in)


def _take_in(place: StorePlace, documents: tuple[Document, ...], collection: str, key_id: str | None) -> IngestReport:
    store = _kept(place)
    store.refresh()
    return store.ingest(documents, collection, key_id)


def _kept(place: StorePlace) -> DocumentStore:
    """The store of this process, which Ray uses for more than one task."""
    return _opened(place.settings.model_dump_json(), place.store, place.small_model, place.threads)


@functools.lru_cache(maxsize=1)
def _opened(settings: str, store: str, small_model: str, threads: int) -> DocumentStore:
    os.nice(_NICENESS)
    return StorePlace(RagSettings.model_validate_json(settings), store, small_model, threads).open()
