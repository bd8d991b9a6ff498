import pytest
import torch

from serve_app.core import ConfigError
from serve_app.engine.probe import choose_device, choose_dtype


def test_auto_dtype_is_one_of_the_two_timed():
    assert choose_dtype("auto", torch.device("cpu"), 64, 128) in (torch.float32, torch.bfloat16)
    assert choose_dtype("float32", torch.device("cpu"), 64, 128) == torch.float32


def test_device_that_is_not_there_names_itself():
    with pytest.raises(ConfigError, match="nonsense"):
        choose_device("nonsense")
    assert choose_device("cpu").type == "cpu"
