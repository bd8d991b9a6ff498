import pytest
import torch

from serve_app.core import ConfigError
from serve_app.engine import probe
from serve_app.engine.linear import obstacle
from serve_app.engine.probe import Choice, choose, choose_device

CPU = torch.device("cpu")
TIMES_MS = {
    (torch.float32, "plain"): 4.0,
    (torch.float32, "packed"): 3.0,
    (torch.float32, "int8"): 0.5,
    (torch.bfloat16, "plain"): 5.0,
    (torch.bfloat16, "packed"): 2.0,
    (torch.bfloat16, "int8"): 0.6,
}


@pytest.fixture
def timed(monkeypatch):
    """No clock: set times, any kind usable but int4 in float32. Returns the pairs that were timed."""
    pairs = []

    def time_ms(dtype, kind, hidden, inner):
        pairs.append((dtype, kind))
        return TIMES_MS[dtype, kind]

    def none_but_int4(kind, dtype, device):
        return "it takes bfloat16" if (kind, dtype) == ("int4", torch.float32) else ""

    monkeypatch.setattr(probe, "_decode_time_ms", time_ms)
    monkeypatch.setattr(probe, "obstacle", none_but_int4)
    monkeypatch.setattr(probe, "check_kind", none_but_int4)
    return pairs


def test_auto_takes_the_fastest_pair_that_keeps_the_answers(timed):
    choice = choose("cpu", "auto", "auto", 64, 128)
    assert (choice.dtype, choice.kind, choice.device) == (torch.bfloat16, "packed", CPU)
    assert choice.threads == torch.get_num_threads()
    assert {kind for _, kind in timed} == {"plain", "packed"}  # int8 is faster, and not asked for
    assert choice.times_ms["float32 plain"] == 4.0


def test_a_name_narrows_what_is_tried(timed):
    assert choose("cpu", "float32", "auto", 64, 128).kind == "packed"
    assert {dtype for dtype, _ in timed} == {torch.float32}
    assert choose("cpu", "auto", "plain", 64, 128).dtype == torch.float32  # of plain products
    assert choose("cpu", "auto", "int8", 64, 128).dtype == torch.float32


def test_one_pair_left_is_not_timed(timed):
    assert choose("cpu", "bfloat16", "plain", 64, 128).times_ms == {}
    assert choose("cpu", "auto", "int4", 64, 128).dtype == torch.bfloat16
    assert timed == []


def test_the_log_line_names_the_choice_and_what_was_tried_fastest_first():
    tried = {"float32 plain": 4.0, "bfloat16 packed": 2.04}
    assert str(Choice(torch.bfloat16, "packed", 2, CPU, tried)) == (
        "bfloat16, packed, cpu, threads 2 (tried: bfloat16 packed 2.0 ms, float32 plain 4.0 ms)"
    )
    assert str(Choice(torch.float32, "plain", 1, CPU)) == "float32, plain, cpu, threads 1"


def test_true_timing_gives_a_pair_that_can_run(monkeypatch):
    monkeypatch.setattr(probe, "_PROBE_BYTES", 1 << 16)
    choice = choose("cpu", "auto", "auto", 64, 128)
    assert choice.kind in ("plain", "packed") and choice.dtype in (torch.float32, torch.bfloat16)
    assert not obstacle(choice.kind, choice.dtype, CPU)
    assert all(taken > 0 for taken in choice.times_ms.values())


def test_device_that_is_not_there_names_itself():
    with pytest.raises(ConfigError, match="nonsense"):
        choose_device("nonsense")
    assert choose_device("cpu").type == "cpu"


def test_kind_that_no_dtype_can_run_says_what_to_set():
    with pytest.raises(ConfigError, match=r"int4.*bfloat16.*set linear to"):
        choose("cpu", "float32", "int4", 64, 128)
    with pytest.raises(ConfigError, match="int3"):
        choose("cpu", "auto", "int3", 64, 128)
