"""Slots: views where the forward pass reads, and nothing left behind."""

import pytest
import torch

from serve_app.engine.cache import SlotCache, Window


@pytest.fixture
def cache():
    cache = SlotCache(num_layers=2, num_rows=3, context=10)
    cache.look_at(Window(1, 1, torch.arange(4)[None], 4))
    for layer in range(2):
        cache.update(torch.full((1, 2, 4, 5), 7.0), torch.full((1, 2, 4, 5), 8.0), layer)
    return cache


def test_prompt_chunk_is_written_to_its_row_alone(cache):
    keys = cache.slots[0].keys
    assert (keys[1, :, :4] == 7).all() and keys.abs().sum() == 7 * 2 * 4 * 5


def test_decoding_rows_write_at_their_own_places_and_read_views_of_the_buffer(cache):
    cache.look_at(Window(0, 2, torch.tensor([[0], [4]]), 5))
    keys, values = cache.update(torch.ones(2, 2, 1, 5), torch.ones(2, 2, 1, 5), 0)
    assert keys.shape == (2, 2, 5, 5) and keys.data_ptr() == cache.slots[0].keys.data_ptr()
    assert (keys[0, :, 0] == 1).all() and (keys[0, :, 1:] == 0).all()
    assert (values[1, :, :4] == 8).all() and (values[1, :, 4] == 1).all()


def test_moved_row_is_whole_in_every_layer_and_cleared_row_is_zero(cache):
    cache.move(1, 0, 4)
    cache.clear(1)
    for layer in cache.slots:
        assert (layer.keys[0, :, :4] == 7).all() and (layer.values[0, :, :4] == 8).all()
        assert not layer.keys[1].any() and not layer.values[1].any()
