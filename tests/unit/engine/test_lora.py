"""One linear layer with adapters of different rank, against the formula."""

import pytest
import torch
from torch import nn

from serve_app.engine.lora import LoraLinear, LoraPair, Selection, attach

RANKS = {0: 4, 2: 1, 3: 8}


@pytest.fixture
def layer():
    torch.manual_seed(0)
    pairs = {index: LoraPair(torch.randn(rank, 6), torch.randn(5, rank), 1.0 + index) for index, rank in RANKS.items()}
    selection = Selection(torch.device("cpu"))
    return LoraLinear(nn.Linear(6, 5), pairs, selection), pairs, selection


@pytest.mark.parametrize("rows", [(None, None), (0, 0), (0, 3, None, 2, 1), (3,), (2, 2, 0), (1, 1), (None, 3)])
@torch.inference_mode()
def test_each_row_gets_its_own_adapter_and_rows_without_one_get_the_base(layer, rows):
    module, pairs, selection = layer
    x = torch.randn(len(rows), 3, 6)
    selection.choose(rows)
    out = module(x)
    for at, adapter in enumerate(rows):
        expected = module.base(x[at])
        if adapter in pairs:
            pair = pairs[adapter]
            expected = expected + x[at] @ pair.down.t() @ pair.up.t() * pair.scaling
        torch.testing.assert_close(out[at], expected)


@torch.inference_mode()
def test_infinite_activation_of_one_row_does_not_reach_another(layer):
    module, _, selection = layer
    selection.choose((0, 3))
    x = torch.ones(2, 1, 6)
    clean = module(x)[1].clone()
    x[0] = float("inf")
    assert torch.equal(module(x)[1], clean)


def test_only_layers_that_an_adapter_targets_are_wrapped():
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 5))
    attach(model, [{"0": LoraPair(torch.zeros(2, 6), torch.zeros(5, 2), 1.0)}], Selection(torch.device("cpu")))
    assert [type(one).__name__ for one in model] == ["LoraLinear", "Linear"]
