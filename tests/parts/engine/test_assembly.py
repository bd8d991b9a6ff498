"""How much of everything an engine gets."""

import pytest
import torch

from serve_app.core import ConfigError

SLOT_BYTES = 64 * 2 * 2 * 32 * 4
"""Tokens, layers, keys and values, numbers, bytes."""


def test_every_row_has_a_slot_and_prefixes_have_some_beside(tiny):
    assembly = tiny.assemble(max_rows=5, prefix_slots=3)
    assert (assembly.num_slots, assembly.limits.max_rows, assembly.slots.num_free) == (8, 5, 8)
    assert assembly.slot_bytes == SLOT_BYTES
    layer = assembly.runner._parts.cache.layers[0]
    assert (layer.keys.shape[0], layer.context) == (8, assembly.context) == (8, 64)


def test_budget_takes_prefix_slots_first_and_then_rows(tiny):
    per_mib = (1 << 20) // SLOT_BYTES
    few = tiny.assemble(max_rows=per_mib - 2, prefix_slots=8, cache_mb=1, step_tokens=256)
    assert (few.num_slots, few.limits.max_rows) == (per_mib, per_mib - 2)
    fewer = tiny.assemble(max_rows=per_mib + 9, prefix_slots=8, cache_mb=1, step_tokens=256)
    assert (fewer.num_slots, fewer.limits.max_rows) == (per_mib, per_mib)


def test_budget_that_holds_no_row_says_what_a_row_takes(tiny, monkeypatch):
    monkeypatch.setattr("serve_app.engine.assembly._MIB", 1000)
    with pytest.raises(ConfigError, match="cache_mb = 1 does not hold one row, which takes 33 MiB at this context"):
        tiny.assemble(cache_mb=1)


def test_context_is_the_models_own_limit_where_that_is_lower(tiny):
    assert tiny.assemble(max_context_tokens=1000).context == 256


def test_bank_and_target_hold_what_the_options_say(tiny):
    assembly = tiny.assemble(adapter_slots=5, max_adapter_rank=20)
    assert (assembly.bank.num_slots, assembly.bank.max_rank, assembly.target.max_rank) == (5, 20, 20)
    assert assembly.target.dtype == torch.float32 and set(assembly.target.widths) == set(assembly.bank.sites)


def test_line_for_the_log_names_every_choice(tiny):
    line = str(tiny.assemble("fused-plain", max_rows=5, prefix_slots=3, adapter_slots=4))
    assert line.startswith("float32, plain, cpu, threads ")
    assert "decoder fused, kernels plain, 5 rows and 8 cache slots of 64 tokens (0 MiB at most)" in line
    assert line.endswith("4 adapter slots of rank 16")
