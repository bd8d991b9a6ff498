"""From options and a model's folder to the parts of a running engine. Called in the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from serve_app.core import ConfigError
from serve_app.engine.admission import EngineLimits
from serve_app.engine.bank import AdapterBank
from serve_app.engine.cache import SlotCache, token_bytes
from serve_app.engine.decoders.choose import make_decoder, site_shapes
from serve_app.engine.decoders.protocol import ModelShape, Parts
from serve_app.engine.kernels import choose_kernels
from serve_app.engine.load import Target, context_limit, load_model, read_config
from serve_app.engine.loop import Books, EngineLoop, Gate
from serve_app.engine.options import EngineOptions
from serve_app.engine.probe import Choice, choose
from serve_app.engine.residency import Residency
from serve_app.engine.runner import Runner
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import SlotTable

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Assembly:
    """An engine without its loop."""

    runner: Runner
    bank: AdapterBank
    target: Target
    slots: SlotTable
    limits: EngineLimits
    context: int
    """Tokens a row may hold."""
    vocab: int
    """Token ids are below it: so many embeddings there are."""
    choice: Choice
    decoder: str
    kernels: str
    num_slots: int
    """Of the key-value cache."""
    slot_bytes: int
    """Of the key-value cache, per slot."""

    def __str__(self) -> str:
        cache_mib = self.slot_bytes * self.num_slots / _MIB
        return (
            f"{self.choice}, decoder {self.decoder}, kernels {self.kernels}, {self.limits.max_rows} rows and "
            f"{self.num_slots} cache slots of {self.context} tokens ({cache_mib:.0f} MiB at most), "
            f"{self.bank.num_slots} adapter slots of rank {self.bank.max_rank}"
        )


def assemble(path: Path, options: EngineOptions, kernel_folder: Path) -> Assembly:
    """Load the model in `path` and all that runs it. Raises EngineError or ConfigError."""
    config = read_config(path)
    shape = ModelShape.of(config)
    choice = choose(options.device, options.dtype, options.linear, shape.hidden, shape.inner)
    context = context_limit(config, options.max_context_tokens)
    slot_bytes = context * token_bytes(shape.num_layers, shape.key_heads, shape.head_dim, choice.dtype)
    num_slots = _num_slots(options, slot_bytes)
    model = load_model(path, choice.dtype, choice.device)
    shapes, vocab = site_shapes(model), model.get_input_embeddings().num_embeddings
    cache = SlotCache(
        shape.num_layers, num_slots, shape.key_heads, context, shape.head_dim, choice.dtype, choice.device
    )
    widths = shape.widths.union(*({site.in_features, *site.widths} for site in shapes))
    kernels = choose_kernels(options.kernels, choice.dtype, choice.device, widths, shape.head_dim, kernel_folder)
    bank = AdapterBank(
        shapes, options.adapter_slots, options.max_adapter_rank, choice.dtype, choice.device, kernels.tiled
    )
    parts = Parts(cache, bank, kernels, choice.kind)
    decoder = make_decoder(model, parts)
    return Assembly(
        runner=Runner(decoder, parts, choice.device),
        bank=bank,
        target=Target.of(shapes, options.max_adapter_rank, choice.dtype),
        slots=SlotTable(num_slots),
        limits=EngineLimits(min(options.max_rows, num_slots), options.max_waiting, options.step_tokens),
        context=context,
        vocab=vocab,
        choice=choice,
        decoder=decoder.name,
        kernels=kernels.name,
        num_slots=num_slots,
        slot_bytes=slot_bytes,
    )


def make_loop(
    assembly: Assembly,
    request_load: Callable[[int, str], None],
    end_ids: Collection[int],
    gate: Gate,
    draft_tokens: int = 0,
) -> EngineLoop:
    """The loop of an assembled engine, which knows no adapter yet. `request_load`: see Residency."""
    residency = Residency(assembly.bank.num_slots, request_load)
    books = Books(Scheduler(assembly.limits, assembly.slots, residency), assembly.slots, residency)
    return EngineLoop(books, assembly.runner, end_ids, gate, draft_tokens)


def _num_slots(options: EngineOptions, slot_bytes: int) -> int:
    """Cache slots: for all rows and the prefixes kept, or as many as the budget allows."""
    wanted = options.max_rows + options.prefix_slots
    if options.cache_mb is None:
        return wanted
    allowed = options.cache_mb * _MIB // slot_bytes
    if allowed < 1:
        raise ConfigError(
            f"cache_mb = {options.cache_mb} does not hold one row, which takes {slot_bytes / _MIB:.0f} MiB at this "
            f"context; raise it or lower max_context_tokens"
        )
    return min(wanted, allowed)
