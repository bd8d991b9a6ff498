"""VllmEngine: one model and its adapters, run by vLLM in processes of its own."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serve_app.adapters import AdapterManifest, AdapterSpec, load, verify
from serve_app.catalogue import ModelFiles
from serve_app.config.nodes import NodeSettings
from serve_app.core import AdapterError, Call, Delta, EngineError, EngineInfo, SamplingParams
from serve_app.engines.deadline import in_time
from serve_app.engines.places import Places
from serve_app.engines.prompt import PromptEncoder
from serve_app.engines.sampling import Sampling, resolve
from serve_app.engines.tally import PromptTally
from serve_app.engines.versions import Versions
from serve_app.engines.vllm.answer import AnswerReader
from serve_app.engines.vllm.arguments import NUM_TOLD, LoraRoom, engine_config, lora_room, set_environment
from serve_app.engines.vllm.shares import Shares

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """An adapter as vLLM knows it."""

    name: str
    """Goes into the keys of cached prompts, so it holds the version."""
    lora_id: int
    path: str

    def request(self) -> Any:
        """vLLM's LoRARequest."""
        from vllm.lora.request import LoRARequest

        return LoRARequest(self.name, self.lora_id, self.path)


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists once the engine has started."""

    llm: Any
    encoder: PromptEncoder
    context: int
    vocab: int
    dtype: str
    device: str
    cache_bytes: int
    room: LoraRoom | None


class VllmEngine:
    """`await start()` before the first call, `await close()` at the end. Its calls belong to one event loop.

    Adapters must have been verified against the model (adapters.verify). Calls get one of `max_rows` places by priority
    and then by arrival; what has a place, vLLM batches. Rows are not shared out between keys. It is an AdapterHost, for
    adapters that fit the room made at its start; all are in memory, so that pins change nothing.
    """

    def __init__(self, model: ModelFiles, adapters: Sequence[AdapterSpec], node: NodeSettings, threads: int) -> None:
        """`threads`: of vLLM's worker."""
        self._model, self._node, self._threads = model, node, threads
        self._versions = Versions(self._forget)
        for adapter in adapters:
            self._versions.add(adapter)
        self._versions.set_live({adapter.name: adapter.version for adapter in adapters})
        self._lora_serial = itertools.count(1)
        self._loras: dict[str, LoraFiles] = {}
        """Version -> what vLLM knows of it."""
        self._unloads: set[asyncio.Task[None]] = set()
        self._places = Places(node.max_rows, node.max_waiting)
        self._shares = Shares()
        self._serial = itertools.count()
        self._running: _Running | None = None
        self._tally = PromptTally()

    async def start(self) -> None:
        """Load the model and every adapter, and run each once. Raises EngineError, AdapterError or ConfigError."""
        self._running = running = await asyncio.to_thread(self._load)
        try:
            await _asked("cannot follow its replica", running.llm.collective_rpc("follow", args=(os.getpid(),)))
            for adapter in self._versions.live.values():
                await self._hand_over(running, adapter)
            for name in (None, *self._versions.live):  # the first pass of each takes longest
                warm_up = Call("warm-up", SamplingParams(max_tokens=1), prompt="hello", adapter=name)
                async for _ in self.generate(warm_up):
                    pass
        except BaseException:
            await self.close()
            raise
        self._tally = PromptTally()

    async def close(self) -> None:
        """End vLLM's processes; calls in flight raise EngineError. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            await asyncio.to_thread(running.llm.shutdown)

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """See core.Engine. Closing the iterator aborts the call in vLLM."""
        running = self._started()
        adapter = self._versions.find(call.adapter, call.adapter_version)
        manifest = adapter.manifest if adapter is not None else None
        sampling = resolve(call.sampling, manifest, self._node)
        deadline_s = None if call.timeout_s is None else asyncio.get_running_loop().time() + call.timeout_s
        too_late = f"{self._model.alias} did not answer within {call.timeout_s} s; allow more time or ask for less"
        placed = self._placed(running, call, adapter, manifest, sampling)
        with self._versions.used(adapter):
            async with aclosing(self._tally.count(in_time(placed, deadline_s, too_late))) as deltas:
                async for delta in deltas:
                    yield delta

    async def info(self) -> EngineInfo:
        """See core.Engine. Does not know how many tokens the cache holds, and says 0."""
        running = self._started()
        if running.llm.errored:
            raise EngineError(f"vLLM's engine of {self._model.alias} has died; its replica's log says why")
        return replace(
            self._versions.info(self._model.alias, running.context),
            dtype=running.dtype,
            device=running.device,
            active_rows=self._places.num_active,
            waiting_calls=self._places.num_waiting,
            resident_adapters=tuple(self._versions.live),
            cache_bytes=running.cache_bytes,
            prompt_tokens=self._tally.prompt_tokens,
            reused_tokens=self._tally.reused_tokens,
        )

    def read_adapter(self, folder: Path, name: str, base_override: bool) -> AdapterSpec:
        """See AdapterHost."""
        return verify(load(folder, name), self._model, base_override)

    async def add_version(self, adapter: AdapterSpec) -> None:
        """See AdapterHost. Raises EngineError too, where vLLM refuses it."""
        running = self._started()
        if running.room is None or adapter.rank > running.room.rank:
            raise AdapterError(
                f"vLLM made no room for adapter {adapter.name} of rank {adapter.rank} when it started; set "
                "max_adapter_rank of its node and start it again"
            )
        if adapter.manifest.chat_template is not None:
            running.encoder.check(adapter)
        if adapter.version not in self._loras:
            await self._hand_over(running, adapter)
        self._versions.add(adapter)

    async def pin_version(self, version: str, pinned: bool) -> None:
        """See AdapterHost."""

    async def drop_version(self, name: str, version: str) -> None:
        """See AdapterHost."""
        self._versions.drop(name, version)

    async def set_live(self, names: Mapping[str, str]) -> None:
        """See AdapterHost."""
        self._versions.set_live(names)

    def _started(self) -> _Running:
        if self._running is None:
            raise EngineError(f"the engine of {self._model.alias} does not run; await start() first")
        return self._running

    def _load(self) -> _Running:
        """Everything that takes long, in a thread: the replica's loop goes on."""
        set_environment(self._threads)
        encoder = PromptEncoder(self._model.path)
        adapters = tuple(self._versions.live.values())
        for adapter in adapters:
            if adapter.manifest.chat_template is not None:
                encoder.check(adapter)
        room = lora_room(adapters, self._node)
        config = engine_config(self._model, room, self._node)
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            llm = AsyncLLM.from_vllm_config(config, disable_log_stats=True)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"vLLM could not start {self._model.alias} ({error}); its log says why") from error
        model = config.model_config
        dtype = str(model.dtype).removeprefix("torch.")
        cache_bytes = config.cache_config.kv_cache_memory_bytes
        device = config.device_config.device_type
        return _Running(llm, encoder, model.max_model_len, model.get_vocab_size(), dtype, device, cache_bytes, room)

    async def _hand_over(self, running: _Running, adapter: AdapterSpec) -> None:
        """Have vLLM load an adapter. Raises EngineError."""
        lora = LoraFiles(f"{adapter.name}@{adapter.version}", next(self._lora_serial), str(adapter.path))
        await _asked(f"cannot load adapter {adapter.name}", running.llm.add_lora(lora.request()))
        self._loras[adapter.version] = lora

    def _forget(self, version: str) -> None:
        unload = asyncio.create_task(self._unload(self._loras.pop(version)))
        self._unloads.add(unload)
        unload.add_done_callback(self._unloads.discard)

    async def _unload(self, lora: LoraFiles) -> None:
        if self._running is None:
            return
        try:
            await _asked(f"cannot unload adapter {lora.name}", self._running.llm.remove_lora(lora.lora_id))
        except EngineError as error:  # it takes memory until others push it out
            _LOG.warning("%s", error)

    async def _placed(
        self,
        running: _Running,
        call: Call,
        adapter: AdapterSpec | None,
        manifest: AdapterManifest | None,
        sampling: Sampling,
    ) -> AsyncGenerator[Delta]:
        """The answer, once there is a place."""
        prompt_ids = await asyncio.to_thread(running.encoder.encode, call, manifest, running.context)
        running.encoder.check_known(prompt_ids, running.vocab)
        version = adapter.version if adapter is not None else None
        reader = AnswerReader(
            running.encoder.tokenizer, sampling.stop, version, len(prompt_ids), call.sampling.top_logprobs
        )
        async with self._places.place(call.priority):
            begun = self._shares.begin()
            try:
                async with aclosing(self._outputs(running, call, prompt_ids, adapter, sampling)) as outputs:
                    async for output in outputs:
                        delta = reader.read(output, self._shares.of(begun))
                        yield delta
                        if delta.finish_reason is not None and not output.finished:
                            return  # a stop string was met: closing the outputs aborts what vLLM goes on with
            finally:
                self._shares.end()

    async def _outputs(
        self,
        running: _Running,
        call: Call,
        prompt_ids: Sequence[int],
        adapter: AdapterSpec | None,
        sampling: Sampling,
    ) -> AsyncGenerator[Any]:
        """vLLM's own, with its errors as ours."""
        from vllm import SamplingParams as VllmSampling
        from vllm.exceptions import VLLMError
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        wanted = VllmSampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=call.sampling.seed,
            max_tokens=min(sampling.max_tokens, running.context - len(prompt_ids)),
            logprobs=NUM_TOLD,
            stop_token_ids=sorted(running.encoder.end_ids),
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        outputs = running.llm.generate(
            tokens_input(list(prompt_ids)),
            wanted,
            f"{call.call_id}/{next(self._serial)}",  # a call_id may come twice; a row may not
            lora_request=self._loras[adapter.version].request() if adapter is not None else None,
            priority=-call.priority,  # to vLLM, lower goes first
        )
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    yield output
        except (VLLMError, ValueError) as error:
            raise EngineError(f"vLLM failed on {self._model.alias} ({error}); try again, and see its log") from error


async def _asked(what: str, request: Awaitable[Any]) -> None:
    """Raises EngineError."""
    try:
        await request
    except Exception as error:  # what was raised in vLLM's worker, as it comes
        raise EngineError(f"vLLM {what}: {error}") from error
