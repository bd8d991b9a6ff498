"""Slots: written by position, copied by prefix, and nothing left behind by a fault."""

import mmap
import sys
from pathlib import Path

import pytest
import torch

from serve_app.engine.cache import SlotCache, token_bytes, zeros
from serve_app.engine.request import Copy

CPU = torch.device("cpu")


@pytest.fixture
def cache():
    """Each slot s of layer l holds s + 10 l + 1 in its keys, and the negative of it in its values."""
    cache = SlotCache(2, 4, 3, 10, 5, torch.float32, CPU)
    for layer, slots in enumerate(cache.layers):
        for slot in range(4):
            slots.keys[slot], slots.values[slot] = slot + 10 * layer + 1, -(slot + 10 * layer + 1)
    return cache


def test_slots_start_as_zeros():
    for layer in SlotCache(2, 4, 3, 10, 5, torch.bfloat16, CPU).layers:
        assert layer.keys.shape == layer.values.shape == (4, 3, 10, 5) and layer.context == 10
        assert not layer.keys.any() and not layer.values.any()


def test_copied_prefix_is_whole_in_every_layer_and_the_rest_of_the_slot_is_untouched(cache):
    cache.copy(Copy(source=2, target=0, num_tokens=4))
    for layer, slots in enumerate(cache.layers):
        assert (slots.keys[0, :, :4] == 10 * layer + 3).all() and (slots.values[0, :, :4] == -(10 * layer + 3)).all()
        assert (slots.keys[0, :, 4:] == 10 * layer + 1).all()
        assert (slots.keys[1:] == torch.arange(2, 5)[:, None, None, None] + 10 * layer).all()


def test_cleared_slot_is_zero_whatever_it_held_and_the_others_are_not(cache):
    cache.layers[1].values[3].fill_(float("nan"))
    cache.clear(3)
    for slots in cache.layers:
        assert not slots.keys[3].any() and not slots.values[3].any()
        assert slots.keys[:3].all() and slots.values[:3].all()


def test_token_bytes_times_tokens_is_what_the_cache_takes(cache):
    taken = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert taken == 4 * 10 * token_bytes(2, 3, 5, torch.float32)
    assert token_bytes(2, 3, 5, torch.bfloat16) * 2 == token_bytes(2, 3, 5, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zeros_have_the_shape_and_type_asked_for_and_can_be_written(dtype):
    tensor = zeros((2, 3, 7), dtype, CPU)
    assert tensor.shape == (2, 3, 7) and tensor.dtype == dtype and tensor.is_contiguous() and not tensor.any()
    tensor[1, 2] = 4
    assert tensor.sum() == 28


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_never_written_takes_no_memory():
    before = resident_bytes()
    tensor = zeros((64, 1 << 20), torch.uint8, CPU)
    tensor[:, :100] = 1  # a little everywhere
    assert resident_bytes() - before < tensor.nbytes // 8
    assert tensor.sum() == 6400
