"""LocalEngine: one model and its adapters, run by one thread of this process."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, aclosing, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from serve_app.adapters import AdapterSpec, content_digest, load, verify
from serve_app.catalogue import ModelFiles, cache_dir
from serve_app.core import AdapterError, Call, Delta, EngineError, EngineInfo, Group, HeadraceError, MemberDelta
from serve_app.engine.assembly import Assembly, assemble, make_loop
from serve_app.engine.bank import LoraPair
from serve_app.engine.gate import CoreGate
from serve_app.engine.load import Target, read_config, read_pairs, use_one_core
from serve_app.engine.loader import AdapterLoader
from serve_app.engine.loop import EngineLoop, Gate
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Request
from serve_app.engines.groups import check_group
from serve_app.engines.local.lock_step import common_sampling, in_lock_step
from serve_app.engines.local.stream import DeltaStream, read_together
from serve_app.engines.prompt import PromptEncoder
from serve_app.engines.sampling import Sampling, resolve
from serve_app.engines.versions import Versions

_log = logging.getLogger(__name__)

_RESIDENT_WITHIN_S = 10.0
"""So long a pin waits for rows of others to leave a place to its version; it is loaded later where they do not."""
_POLL_S = 0.01

_Asked = tuple[Request, DeltaStream]
"""What a call asks of the loop, and where its answer comes."""


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists once the engine has started."""

    loop: EngineLoop
    encoder: PromptEncoder
    assembly: Assembly


class LocalEngine:
    """A core.GroupEngine. `await start()` before the first call, `await close()` at the end; both may be called once.

    Adapters must have been verified against the model (adapters.verify); here only their tensors are checked. It is an
    AdapterHost: versions come and go while calls are answered.
    """

    def __init__(self, model: ModelFiles, adapters: Sequence[AdapterSpec], options: EngineOptions) -> None:
        self._model = model
        self._options = options
        names = {adapter.name: adapter.version for adapter in adapters}
        if len(names) < len(adapters):
            raise EngineError(f"two adapters have the same name: {sorted(one.name for one in adapters)}")
        self._versions = Versions(self._forget)
        for adapter in adapters:
            self._versions.add(adapter)
        self._versions.set_live(names)
        self._specs = {adapter.version: adapter for adapter in adapters}
        """All versions that the engine's loop knows: those held, and those dropped that calls still use."""
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
        with ExitStack() as held:
            request, stream = await self._asked(call, held)
            running.loop.submit(request)
            try:
                while True:
                    delta = await stream.next()
                    yield delta
                    if delta.finish_reason is not None:
                        return
            finally:
                running.loop.cancel(request.request_id)

    async def generate_group(self, group: Group) -> AsyncGenerator[MemberDelta]:
        """See core.GroupEngine. All members are queued at once, or none, so that they share each forward pass.

        In lock step all answer as the first call asks, up to the first stop string of any member or the earliest
        deadline, and an error of one is raised and ends them all. Raises EngineError for more members than there are
        rows, or more adapters than there are slots for them.
        """
        check_group(group)
        running, ready = self._started(), asyncio.Event()
        with ExitStack() as held:
            asked, refused = await self._asked_together(group, held, ready)
            for member, error in refused.items():
                if group.lock_step:
                    raise error
                yield MemberDelta(member, error=error)
            requests = [request for request, _ in asked.values()]
            running.loop.submit(*(in_lock_step(requests, group.weights) if group.lock_step else requests))
            try:
                streams = {member: stream for member, (_, stream) in asked.items()}
                async with aclosing(read_together(streams, ready)) as deltas:
                    async for delta in deltas:
                        if delta.error is not None and group.lock_step:
                            raise delta.error
                        yield delta
            finally:
                for request in requests:
                    running.loop.cancel(request.request_id)

    async def _asked(
        self, call: Call, held: ExitStack, sampling: Sampling | None = None, ready: asyncio.Event | None = None
    ) -> _Asked:
        """What a call asks of the loop; its adapter is in use until `held` is closed. `sampling` None: the call's."""
        running = self._started()
        deadline_s = None if call.timeout_s is None else time.monotonic() + call.timeout_s
        adapter = self._versions.find(call.adapter, call.adapter_version)
        manifest = adapter.manifest if adapter is not None else None
        version = adapter.version if adapter is not None else None
        sampling = sampling or resolve(call.sampling, manifest, self._options)
        context = running.assembly.context
        held.enter_context(self._versions.used(adapter))
        prompt_ids = await asyncio.to_thread(running.encoder.encode, call, manifest, context)
        running.encoder.check_known(prompt_ids, running.assembly.vocab)
        stream = DeltaStream(running.encoder.tokenizer, sampling.stop, version, ready)
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
        return request, stream

    async def _asked_together(
        self, group: Group, held: ExitStack, ready: asyncio.Event
    ) -> tuple[dict[int, _Asked], dict[int, HeadraceError]]:
        """What the members ask of the loop, by place in the group, and why the others cannot be asked."""
        sampling = None
        if group.lock_step:
            found = [(call, self._versions.find(call.adapter, call.adapter_version)) for call in group.calls]
            sampling = common_sampling(
                [
                    resolve(call.sampling, adapter.manifest if adapter else None, self._options)
                    for call, adapter in found
                ]
            )
        outcomes = await asyncio.gather(
            *(self._asked(call, held, sampling, ready) for call in group.calls), return_exceptions=True
        )
        asked: dict[int, _Asked] = {}
        refused: dict[int, HeadraceError] = {}
        for member, outcome in enumerate(outcomes):
            if isinstance(outcome, HeadraceError):
                refused[member] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                asked[member] = outcome
        return asked, refused

    async def info(self) -> EngineInfo:
        """See core.Engine."""
        running = self._started()
        load, assembly = running.loop.load(), running.assembly
        resident, live = load.resident_adapters, self._versions.live
        return replace(
            self._versions.info(self._model.alias, assembly.context),
            dtype=str(assembly.choice.dtype).removeprefix("torch."),
            device=str(assembly.choice.device),
            active_rows=load.active_rows,
            waiting_calls=load.waiting_requests,
            resident_adapters=tuple(name for name, adapter in live.items() if adapter.version in resident),
            pinned_adapters=tuple(name for name, one in live.items() if one.version in load.pinned_adapters),
            adapter_loads=load.adapter_loads,
            cache_bytes=assembly.slot_bytes * assembly.num_slots,
            cached_tokens=load.cached_tokens,
            prompt_tokens=load.prefixes.prompt_tokens,
            reused_tokens=load.prefixes.reused_tokens,
        )

    def read_adapter(self, folder: Path, name: str, base_override: bool) -> AdapterSpec:
        """See AdapterHost."""
        return verify(load(folder, name), self._model, base_override)

    async def add_version(self, adapter: AdapterSpec) -> None:
        """See AdapterHost. Its tensors are checked first, off the engine's thread; traffic goes on meanwhile."""
        running = self._started()
        if adapter.manifest.chat_template is not None:
            running.encoder.check(adapter)
        await asyncio.to_thread(_check, adapter, running.assembly.target)
        is_known = adapter.version in self._specs
        self._specs[adapter.version] = adapter
        self._versions.add(adapter)
        if not is_known or running.loop.residence(adapter.version).error is not None:
            running.loop.add_adapter(adapter.version)
        if len(self._specs) <= self._options.adapter_slots:  # it pushes nobody out
            running.loop.preload_adapter(adapter.version)

    async def pin_version(self, version: str, pinned: bool) -> None:
        """See AdapterHost. A pin moves from the live version of its name where there is no room for two."""
        loop = self._started().loop
        try:
            loop.pin_adapter(version, pinned)
        except AdapterError:
            replaced = self._replaced_by(version)
            for before in replaced:
                loop.pin_adapter(before, False)
            try:
                loop.pin_adapter(version, pinned)
            except AdapterError:
                for before in replaced:
                    loop.pin_adapter(before, True)
                raise
        ends_s = time.monotonic() + _RESIDENT_WITHIN_S
        while pinned and loop.residence(version).state != "resident" and time.monotonic() < ends_s:
            if (error := loop.residence(version).error) is not None:
                loop.pin_adapter(version, False)
                raise AdapterError(str(error)) from error
            await asyncio.sleep(_POLL_S)

    async def drop_version(self, name: str, version: str) -> None:
        """See AdapterHost."""
        self._versions.drop(name, version)

    async def set_live(self, names: Mapping[str, str]) -> None:
        """See AdapterHost."""
        self._versions.set_live(names)

    def _replaced_by(self, version: str) -> list[str]:
        """The live versions, if they are pinned, of the names that hold this one too."""
        loop = self._started().loop
        return [
            live.version
            for name, live in self._versions.live.items()
            if live.version != version and self._versions.holds(version, name) and loop.residence(live.version).pinned
        ]

    def _started(self) -> _Running:
        if self._running is None:
            raise EngineError(f"the engine of {self._model.alias} has not started; await start() first")
        return self._running

    def _forget(self, version: str) -> None:
        del self._specs[version]
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
        for adapter in self._versions.live.values():
            if adapter.manifest.chat_template is not None:
                encoder.check(adapter)
        with gate():  # another engine at work would spoil the timing of the probe
            assembly = assemble(path, options, cache_dir() / "kernels")
            assembly.runner.warm_up()
        _log.info("%s: %s", self._model.alias, assembly)
        for adapter in self._versions.live.values():
            _read(adapter, assembly.target)
        loader = AdapterLoader(
            partial(self._load_adapter, assembly),
            lambda slot, version: loop.adapter_loaded(slot, version),
            lambda slot, version, error: loop.adapter_failed(slot, version, error),
        )
        stack.callback(loader.close)
        loop = make_loop(assembly, loader.request, encoder.end_ids, gate, options.draft_tokens)
        for adapter in self._versions.live.values():
            loop.add_adapter(adapter.version)
        for adapter in itertools.islice(self._versions.live.values(), options.adapter_slots):
            loop.preload_adapter(adapter.version)
        return _Running(loop, encoder, assembly)

    def _load_adapter(self, assembly: Assembly, slot: int, version: str) -> None:
        """In the loader's thread."""
        use_one_core()
        adapter = self._specs.get(version)
        if adapter is None:
            raise AdapterError(f"adapter {version} was removed while it was loaded")
        assembly.bank.write(slot, _read(adapter, assembly.target))


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
