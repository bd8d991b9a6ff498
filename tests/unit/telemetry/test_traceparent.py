"""Headers that are a trace context, and such that are none."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.telemetry import attributes, traceparent
from serve_app.telemetry.traceparent import parts, valid_traceparent
from serve_app.telemetry.traceparent import traceparent as written

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("module", [attributes, traceparent])
def test_the_worked_values_are_right(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + "-more",
        GOOD + "0",
        "ff" + GOOD[2:],
        GOOD.replace("b7ad6b7169203331", "0" * 16),
        GOOD.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        GOOD.replace("0af7", "0ag7"),
        " " + GOOD,
        GOOD + "\n",
    ],
)
def test_what_is_no_trace_context_counts_as_none(header):
    assert valid_traceparent(header) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace_id, span_id, sampled):
    header = written(trace_id, span_id, sampled)
    assert valid_traceparent(header) == header
    assert parts(header) == (trace_id, span_id, sampled)


@given(st.text())
def test_no_header_is_an_error(header):
    assert valid_traceparent(header) in (None, header[:55])
