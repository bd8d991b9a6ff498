"""Answers of a local model to many conversations at once, kept on disk: what was asked once is not asked again.

An answer is known by the model's digest, the adapter's version, the turns and the sampling, so that a run that was
broken off goes on where it stopped and a later run with the same model pays for new questions alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serve_app.catalogue import ModelFiles, cache_dir
from serve_app.core import Call, Engine, Message, SamplingParams, single_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serve_app.adapters import AdapterSpec

_ROWS = 16
Stat = tuple[float, float, float, int]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question."""

    id: str
    """Unique among those asked together."""
    messages: tuple[Message, ...]
    sampling: SamplingParams


@dataclass(frozen=True, slots=True)
class Generated:
    """One whole answer."""

    text: str
    tokens: tuple[Stat, ...]
    """Log-probability, entropy, margin and id of each generated token."""
    prompt_tokens: int
    completion_tokens: int
    busy_s: float


class Answerer(Protocol):
    """A model, with or without an adapter, that answers questions."""

    async def answer(
        self, asks: Sequence[Ask], on_done: Callable[[int], object] = lambda num: None
    ) -> dict[str, Generated]:
        """By id; `on_done` is told how many more are answered. Raises EngineError."""
        ...


@dataclass
class LocalAnswerer:
    """An `Answerer` on an engine in this process, which is loaded only where something is not known yet."""

    model: ModelFiles
    adapter: AdapterSpec | None = None
    """Verified against the model."""
    threads: int = 1
    max_context_tokens: int = 2048
    cache: Path | None = None
    """Folder; None: `distill/answers` in the cache folder."""
    engine: Callable[[LocalAnswerer, int], AbstractAsyncContextManager[Engine]] | None = field(default=None, repr=False)
    """Opens the engine for so many questions; for tests. None: a LocalEngine."""

    async def answer(
        self, asks: Sequence[Ask], on_done: Callable[[int], object] = lambda num: None
    ) -> dict[str, Generated]:
        """See `Answerer`."""
        path = self._file()
        known = _read(path)
        keys = {ask.id: _key(ask) for ask in asks}
        found = {ask.id: known[keys[ask.id]] for ask in asks if keys[ask.id] in known}
        on_done(len(found))
        missing = [ask for ask in asks if ask.id not in found]
        if not missing:
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        async with (self.engine or _local_engine)(self, len(missing)) as engine:
            path.touch(mode=0o600)  # people's texts
            with path.open("a", encoding="utf-8") as out:

                async def one(ask: Ask) -> None:
                    found[ask.id] = await generate(engine, ask, self.adapter.name if self.adapter else None)
                    out.write(json.dumps({"key": keys[ask.id], **asdict(found[ask.id])}, ensure_ascii=False) + "\n")
                    out.flush()
                    on_done(1)

                with single_errors():
                    async with asyncio.TaskGroup() as tasks:
                        for ask in missing:
                            tasks.create_task(one(ask))
        return found

    def _file(self) -> Path:
        folder = self.cache if self.cache is not None else cache_dir() / "distill" / "answers"
        version = "base" if self.adapter is None else self.adapter.version
        return folder / f"{self.model.alias}-{self.model.source_digest[:12]}-{version}.jsonl"


async def generate(engine: Engine, ask: Ask, adapter: str | None) -> Generated:
    """The whole answer to one question. Raises EngineError."""
    text, tokens, usage = "", [], None
    async for delta in engine.generate(Call(ask.id, ask.sampling, ask.messages, adapter=adapter)):
        text += delta.text
        tokens += [(one.logprob, one.entropy, one.margin, one.token_id) for one in delta.tokens]
        usage = delta.usage
    assert usage is not None
    return Generated(text, tuple(tokens), usage.prompt_tokens, usage.completion_tokens, usage.busy_s)


@asynccontextmanager
async def _local_engine(asker: LocalAnswerer, num_asks: int) -> AsyncIterator[Engine]:
    from serve_app.engines.local import EngineOptions, LocalEngine  # torch: not before something is asked

    options = EngineOptions(
        threads=asker.threads,
        max_rows=_ROWS,
        max_waiting=num_asks,
        max_context_tokens=asker.max_context_tokens,
    )
    engine = LocalEngine(asker.model, [asker.adapter] if asker.adapter else [], options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def _key(ask: Ask) -> str:
    asked = [[asdict(turn) for turn in ask.messages], asdict(ask.sampling)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Generated]:
    """What was answered before; a last line that was cut off is not known."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    found = {}
    for line in whole.splitlines():
        row = json.loads(line)
        key = row.pop("key")
        found[key] = Generated(**row | {"tokens": tuple(tuple(one) for one in row["tokens"])})
    return found
