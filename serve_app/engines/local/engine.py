"""LocalEngine: one model and its adapters, run by one thread of this process."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from serve_app.adapters import AdapterSpec, content_digest
from serve_app.catalogue import ModelFiles, cache_dir
from serve_app.core import AdapterError, Call, Delta, EngineError, EngineInfo, ModelNotFound, RequestError
from serve_app.engine.assembly import Assembly, assemble, make_loop
from serve_app.engine.bank import LoraPair
from serve_app.engine.gate import CoreGate
from serve_app.engine.load import Target, read_config, read_pairs, use_one_core
from serve_app.engine.loader import AdapterLoader
from serve_app.engine.loop import EngineLoop, Gate
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Request
from serve_app.engines.local.prompt import PromptEncoder
from serve_app.engines.local.sampling import resolve
from serve_app.engines.local.stream import DeltaStream

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists once the engine has started."""

    loop: EngineLoop
    encoder: PromptEncoder
    assembly: Assembly


class LocalEngine:
    """A core.Engine. `await start()` before the first call, `await close()` at the end; both may be called once.

    Adapters must have been verified against the model (adapters.verify); here only their tensors are checked. They may
    be added, replaced, pinned and removed while calls are answered: a call keeps the version it began with.
    """

    def __init__(self, model: ModelFiles, adapters: Sequence[AdapterSpec], options: EngineOptions) -> None:
        self._model = model
        self._options = options
        self._adapters = {adapter.name: adapter for adapter in adapters}
        """The version that new calls get, by name."""
        if len(self._adapters) < len(adapters):
            raise EngineError(f"two adapters have the same name: {sorted(one.name for one in adapters)}")
        self._specs = {adapter.version: adapter for adapter in adapters}
        """All versions that the engine's loop knows."""
        self._calls: Counter[str] = Counter()
        """Version -> calls in flight: a version that was replaced stays until the last of them ends."""
        self._serial = itertools.count()
        self._running: _Running | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Load the model and its adapters in the engine's thread. Raises EngineError, AdapterError or ConfigError."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(ready,), name=f"engine-{self._model.alias}", daemon=True
        )
        self._thread.start()
        await asyncio.wrap_future(ready)

    async def close(self) -> None:
        """End the thread after its current step; calls in flight raise EngineError. Idempotent."""
        self._closing.set()
        if self._running is not None:
            self._running.loop.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """See core.Engine. Deltas that come faster than they are read are merged."""
        running = self._started()
        adapter = self._adapter(call.adapter)
        manifest = adapter.manifest if adapter is not None else None
        version = adapter.version if adapter is not None else None
        sampling = resolve(call.sampling, manifest, self._options)
        context = running.assembly.context
        deadline_s = None if call.timeout_s is None else time.monotonic() + call.timeout_s
        if version is not None:
            self._calls[version] += 1
        try:
            prompt_ids = await asyncio.to_thread(running.encoder.encode, call, manifest, context)
            _check_known(prompt_ids, running)
            stream = DeltaStream(running.encoder.tokenizer, sampling.stop, version)
            request = Request(
                request_id=f"{call.call_id}/{next(self._serial)}",  # a call_id may come twice; a row may not
                prompt_ids=prompt_ids,
                max_tokens=min(sampling.max_tokens, context - len(prompt_ids)),
                sink=stream,
                adapter=version,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=call.sampling.seed,
                top_logprobs=call.sampling.top_logprobs,
                key=call.key_id,
                priority=call.priority,
                deadline_s=deadline_s,
            )
            running.loop.submit(request)
            try:
                while True:
                    delta = await stream.next()
                    yield delta
                    if delta.finish_reason is not None:
                        return
            finally:
                running.loop.cancel(request.request_id)
        finally:
            if version is not None:
                self._calls[version] -= 1
                self._forget_if_unused(version)

    async def info(self) -> EngineInfo:
        """See core.Engine."""
        running = self._started()
        load, assembly = running.loop.load(), running.assembly
        resident = load.resident_adapters
        return EngineInfo(
            model=self._model.alias,
            max_context_tokens=assembly.context,
            adapters={name: adapter.version for name, adapter in self._adapters.items()},
            warm_adapters=tuple(name for name, adapter in self._adapters.items() if adapter.manifest.temperature),
            longest_answers={
                name: longest for name, adapter in self._adapters.items() if (longest := adapter.manifest.max_tokens)
            },
            dtype=str(assembly.choice.dtype).removeprefix("torch."),
            device=str(assembly.choice.device),
            active_rows=load.active_rows,
            waiting_calls=load.waiting_requests,
            resident_adapters=tuple(name for name, adapter in self._adapters.items() if adapter.version in resident),
            cache_bytes=assembly.slot_bytes * assembly.num_slots,
            cached_tokens=load.cached_tokens,
            prompt_tokens=load.prefixes.prompt_tokens,
            reused_tokens=load.prefixes.reused_tokens,
        )

    async def add_adapter(self, adapter: AdapterSpec, pinned: bool = False) -> None:
        """Serve an adapter, or a new version under a known name, from the next call on. Raises AdapterError.

        Its tensors are checked first, off the engine's thread; traffic goes on meanwhile. Calls that have begun on an
        older version are answered by it. A version that replaces a pinned one is pinned.
        """
        running = self._started()
        if adapter.manifest.chat_template is not None:
            running.encoder.check(adapter)
        await asyncio.to_thread(_check, adapter, running.assembly.target)
        before = self._adapters.get(adapter.name)
        inherited = before is not None and running.loop.adapter_pinned(before.version)
        if before is not None and inherited:  # two pinned versions of one name might not find room
            running.loop.pin_adapter(before.version, False)
        self._specs[adapter.version] = adapter
        try:
            running.loop.add_adapter(adapter.version, pinned or inherited)
        except AdapterError:
            self._forget_if_unused(adapter.version)
            raise
        self._adapters[adapter.name] = adapter
        if before is not None and before.version != adapter.version:
            self._forget_if_unused(before.version)

    async def remove_adapter(self, name: str) -> None:
        """Serve it no more; calls that have begun are answered. Raises ModelNotFound."""
        adapter = self._adapter(name)
        assert adapter is not None
        del self._adapters[name]
        self._forget_if_unused(adapter.version)

    async def pin_adapter(self, name: str, pinned: bool) -> None:
        """Keep an adapter resident, or let it be evicted again. Raises ModelNotFound, or AdapterError if all slots are
        pinned."""
        adapter = self._adapter(name)
        assert adapter is not None
        self._started().loop.pin_adapter(adapter.version, pinned)

    def _started(self) -> _Running:
        if self._running is None:
            raise EngineError(f"the engine of {self._model.alias} has not started; await start() first")
        return self._running

    def _adapter(self, name: str | None) -> AdapterSpec | None:
        if name is None:
            return None
        if name not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise ModelNotFound(f"no adapter is named {name!r}; this engine has: {known}", "model", "model_not_found")
        return self._adapters[name]

    def _forget_if_unused(self, version: str) -> None:
        """Let go of a version that no name stands for and no call uses."""
        current = any(adapter.version == version for adapter in self._adapters.values())
        if not current and not self._calls[version] and self._specs.pop(version, None) is not None:
            del self._calls[version]
            self._started().loop.remove_adapter(version)

    def _work(self, ready: Future[None]) -> None:
        """The engine's thread. Threads are set here because OpenMP counts them per calling thread."""
        options = self._options
        torch.set_num_threads(options.threads)
        with ExitStack() as stack:
            try:
                gate: Gate = nullcontext
                if options.gate_cores is not None:
                    gate = partial(stack.enter_context(closing(CoreGate(options.gate_cores))).hold, options.threads)
                running = self._load(gate, stack)
            except BaseException as error:  # whatever it is, start() must hear of it
                if ready.set_running_or_notify_cancel():
                    ready.set_exception(error)
                return
            self._running = running
            if self._closing.is_set():  # closed while loading: close() did not find the loop
                running.loop.close()
            if ready.set_running_or_notify_cancel():
                ready.set_result(None)
            running.loop.run()

    def _load(self, gate: Gate, stack: ExitStack) -> _Running:
        """Everything that takes long, in the engine's thread."""
        options, path = self._options, self._model.path
        read_config(path)  # it says better than the tokenizer that a folder is no model's
        encoder = PromptEncoder(path)
        for adapter in self._adapters.values():
            if adapter.manifest.chat_template is not None:
                encoder.check(adapter)
        with gate():  # another engine at work would spoil the timing of the probe
            assembly = assemble(path, options, cache_dir() / "kernels")
            assembly.runner.warm_up()
        _log.info("%s: %s", self._model.alias, assembly)
        for adapter in self._adapters.values():
            _read(adapter, assembly.target)
        loader = AdapterLoader(
            partial(self._load_adapter, assembly),
            lambda slot, version: loop.adapter_loaded(slot, version),
            lambda slot, version, error: loop.adapter_failed(slot, version, error),
        )
        stack.callback(loader.close)
        loop = make_loop(assembly, loader.request, encoder.end_ids, gate, options.draft_tokens)
        for adapter in self._adapters.values():
            loop.add_adapter(adapter.version)
        for adapter in itertools.islice(self._adapters.values(), options.adapter_slots):
            loop.preload_adapter(adapter.version)
        return _Running(loop, encoder, assembly)

    def _load_adapter(self, assembly: Assembly, slot: int, version: str) -> None:
        """In the loader's thread."""
        use_one_core()
        adapter = self._specs.get(version)
        if adapter is None:
            raise AdapterError(f"adapter {version} was removed while it was loaded")
        assembly.bank.write(slot, _read(adapter, assembly.target))


def _check_known(prompt_ids: Sequence[int], running: _Running) -> None:
    """Raise RequestError for a token that the model has no embedding for: in a step, it would fail every row there."""
    highest = max(prompt_ids)
    if highest >= running.assembly.vocab:
        text = running.encoder.tokenizer.id_to_token(highest)
        raise RequestError(f"this model was not made for the token {text!r}; leave it out of the prompt")


def _check(adapter: AdapterSpec, target: Target) -> None:
    """In a thread beside the engine's; see `_read`."""
    use_one_core()
    _read(adapter, target)


def _read(adapter: AdapterSpec, target: Target) -> dict[str, LoraPair]:
    """An adapter's matrices, checked. Raises AdapterError, also where its files are not those that were verified: a
    version is loaded again whenever it was evicted, and must answer as it did."""
    if not content_digest(adapter.path).startswith(adapter.version):
        raise AdapterError(
            f"adapter {adapter.name}: the files in {adapter.path} are no longer those of version {adapter.version}; "
            f"add it again, and give each version a folder of its own"
        )
    return read_pairs(adapter, target)
