"""LocalEngine: one model and its adapters, run by one thread of this process."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.core import Call, Delta, EngineError, EngineInfo, ModelNotFound
from serve_app.engine.gate import CoreGate
from serve_app.engine.load import context_limit, load_model, read_adapters, read_shape
from serve_app.engine.loop import EngineLoop, Gate
from serve_app.engine.options import EngineOptions
from serve_app.engine.probe import choose_device, choose_dtype
from serve_app.engine.request import Request
from serve_app.engine.runner import Runner
from serve_app.engine.scheduler import Scheduler
from serve_app.engines.local.prompt import PromptEncoder
from serve_app.engines.local.sampling import resolve
from serve_app.engines.local.stream import DeltaStream


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists once the engine has started."""

    loop: EngineLoop
    encoder: PromptEncoder
    context: int
    dtype: str
    device: str


class LocalEngine:
    """A core.Engine. `await start()` before the first call, `await close()` at the end; both may be called once.

    Adapters must have been verified against the model (adapters.verify); here only their tensors are checked.
    """

    def __init__(self, model: ModelFiles, adapters: Sequence[AdapterSpec], options: EngineOptions) -> None:
        self._model = model
        self._adapters = tuple(adapters)
        self._options = options
        self._index = {adapter.name: index for index, adapter in enumerate(self._adapters)}
        if len(self._index) < len(self._adapters):
            raise EngineError(f"two adapters have the same name: {sorted(one.name for one in self._adapters)}")
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
        sampling = resolve(call.sampling, manifest, self._options)
        prompt_ids = await asyncio.to_thread(running.encoder.encode, call, manifest, running.context)
        version = adapter.version if adapter is not None else None
        stream = DeltaStream(running.encoder.tokenizer, sampling.stop, version)
        request = Request(
            request_id=f"{call.call_id}/{next(self._serial)}",  # a call_id may come twice; a row may not
            prompt_ids=prompt_ids,
            max_tokens=min(sampling.max_tokens, running.context - len(prompt_ids)),
            sink=stream,
            adapter=None if call.adapter is None else self._index[call.adapter],
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=call.sampling.seed,
            top_logprobs=call.sampling.top_logprobs,
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

    async def info(self) -> EngineInfo:
        """See core.Engine."""
        running = self._started()
        load = running.loop.load()
        return EngineInfo(
            model=self._model.alias,
            max_context_tokens=running.context,
            adapters={adapter.name: adapter.version for adapter in self._adapters},
            dtype=running.dtype,
            device=running.device,
            active_rows=load.active_rows,
            waiting_calls=load.waiting_requests,
        )

    def _started(self) -> _Running:
        if self._running is None:
            raise EngineError(f"the engine of {self._model.alias} has not started; await start() first")
        return self._running

    def _adapter(self, name: str | None) -> AdapterSpec | None:
        if name is None:
            return None
        if name not in self._index:
            known = ", ".join(self._index) or "none"
            raise ModelNotFound(f"no adapter is named {name!r}; this engine has: {known}", "model", "model_not_found")
        return self._adapters[self._index[name]]

    def _work(self, ready: Future[None]) -> None:
        """The engine's thread. Threads are set here because OpenMP counts them per calling thread."""
        options = self._options
        torch.set_num_threads(options.threads)
        with ExitStack() as stack:
            try:
                gate: Gate = nullcontext
                if options.gate_cores is not None:
                    gate = partial(stack.enter_context(closing(CoreGate(options.gate_cores))).hold, options.threads)
                running = self._load(gate)
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

    def _load(self, gate: Gate) -> _Running:
        """Everything that takes long, in the engine's thread."""
        options, path = self._options, self._model.path
        device = choose_device(options.device)
        with gate():  # another engine at work would spoil the timing
            dtype = choose_dtype(options.dtype, device, *read_shape(path))
        encoder = PromptEncoder(path)
        for adapter in self._adapters:
            if adapter.manifest.chat_template is not None:
                encoder.check(adapter)
        model = load_model(path, dtype, device)
        context = context_limit(model.config, options.max_context_tokens)
        runner = Runner(model, read_adapters(self._adapters, model), options.max_rows, context)
        with gate():
            runner.warm_up()
        scheduler = Scheduler(options.max_rows, options.max_waiting, options.prefill_tokens)
        loop = EngineLoop(scheduler, runner, encoder.end_ids, gate)
        return _Running(loop, encoder, context, str(dtype).removeprefix("torch."), str(device))
