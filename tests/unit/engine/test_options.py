import pytest

from serve_app.core import ConfigError
from serve_app.engine.options import DTYPES, KERNELS, LINEARS, EngineOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_rows", 0),
        ("max_context_tokens", 0),
        ("threads", 0),
        ("max_tokens", 0),
        ("adapter_slots", 0),
        ("max_adapter_rank", 0),
        ("max_waiting", -1),
        ("prefix_slots", -1),
        ("draft_tokens", -1),
        ("step_tokens", 16),
        ("gate_cores", 0),
        ("cache_mb", 0),
        ("dtype", "int4"),
        ("linear", "int2"),
        ("kernels", "fast"),
        ("temperature", -0.1),
        ("top_p", 0.0),
        ("top_p", 1.1),
    ],
)
def test_option_out_of_range_names_the_field_and_its_value(field, value):
    with pytest.raises(ConfigError, match=rf"{field} must be .*{value}"):
        EngineOptions(**{field: value})


def test_step_must_hold_a_token_of_every_row_and_one_of_a_prompt():
    assert EngineOptions(max_rows=32, step_tokens=33).step_tokens == 33
    with pytest.raises(ConfigError, match=r"more than max_rows \(32\), not 32"):
        EngineOptions(max_rows=32, step_tokens=32)


@pytest.mark.parametrize(
    ("field", "words"), [("dtype", DTYPES), ("linear", LINEARS), ("kernels", KERNELS), ("prefix_slots", (0,))]
)
def test_every_word_and_the_least_value_are_taken(field, words):
    for word in words:
        assert getattr(EngineOptions(**{field: word}), field) == word
