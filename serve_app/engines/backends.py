"""Engine name -> the function that loads and starts it inside a replica.

`local`, `vllm`, `openai` and `fake` come with the package; `package.module:function` is anybody's own, with the shape
of `Backend`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from serve_app.config.named import named
from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import ConfigError, Engine

if TYPE_CHECKING:
    from serve_app.adapters import AdapterSpec
    from serve_app.catalogue import ModelFiles


class Backend(Protocol):
    """Loads the model and its adapters; returns a started engine. `threads`: compute threads it may use."""

    async def __call__(self, node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
        """Raises CatalogueError, AdapterError or EngineError when it cannot start."""
        ...


async def local(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """torch in this process. Every adapter is verified against the base before the engine sees it."""
    from serve_app.engines.local import EngineOptions, LocalEngine

    model, specs = await asyncio.to_thread(_read, node.model, adapters)
    names = {field.name for field in fields(EngineOptions)} - {"threads"}
    options = EngineOptions(threads=threads, **node.model_dump(include=names))
    engine = LocalEngine(model, specs, options)
    await engine.start()
    return engine


def _read(name: str, adapters: Mapping[str, AdapterSource]) -> "tuple[ModelFiles, list[AdapterSpec]]":
    """The model's files, and its adapters, verified. Reads whole files."""
    from serve_app.adapters import load, source_folder, verify
    from serve_app.catalogue import resolve

    model, specs = resolve(name), []
    for adapter, source in adapters.items():
        spec = load(source_folder(source), adapter)
        specs.append(verify(spec, model, source.base_override))
    return model, specs


async def vllm(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """vLLM, in processes of its own. Every adapter is verified against the base before vLLM sees it."""
    from serve_app.engines.vllm import VllmEngine

    model, specs = await asyncio.to_thread(_read, node.model, adapters)
    engine = VllmEngine(model, specs, node, threads)
    await engine.start()
    return engine


async def fake(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """Scripted answers and no model, to try a graph out: `engine: fake`."""
    from serve_app.engines.fake import FakeEngine

    versions = await asyncio.to_thread(lambda: {name: _version(source) for name, source in adapters.items()})
    return FakeEngine(model=node.model, adapters=versions)


def _version(source: AdapterSource) -> str:
    """Of files that need not be there."""
    from serve_app.adapters import content_digest, source_folder, version_of

    folder = source_folder(source)
    return version_of(content_digest(folder)) if folder.is_dir() else "fake"


async def openai(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """Servers elsewhere that speak OpenAI's API, as `node.remote` names them: `engine: openai`.

    The servers have the adapters; nothing is read from where these lie here.
    """
    from serve_app.engines.remote import RemoteEngine

    engine = RemoteEngine(node, tuple(adapters))
    await engine.start()
    return engine


_SHIPPED: Mapping[str, Backend] = {"local": local, "vllm": vllm, "fake": fake, "openai": openai}


def backend(name: str) -> Backend:
    """The backend of an engine name. Raises ConfigError when there is none."""
    if name in _SHIPPED:
        return _SHIPPED[name]
    try:
        found: Backend = named(name)
    except (ImportError, AttributeError) as error:
        known = ", ".join(_SHIPPED)
        raise ConfigError(f"engine {name!r} is unknown ({error}); write {known} or package.module:function.") from error
    return found
