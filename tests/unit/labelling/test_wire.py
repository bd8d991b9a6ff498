import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.labelling.sandbox.wire import WireError, decode, encode, framed, receive, send, unframed
from tests.properties import examples

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
LEAVES |= st.binary(max_size=8) | st.decimals(allow_nan=False) | st.fractions() | st.datetimes() | st.timedeltas()
HASHABLE = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)


def refuse(value):
    raise AssertionError(f"a handle was asked for {value!r}")


@settings(max_examples=examples(40))
@given(VALUES)
def test_plain_data_comes_out_as_it_went_in(value):
    crossed = decode(json.loads(json.dumps(encode(value, refuse))), refuse)
    assert crossed == value
    assert type(crossed) is type(value)


@given(st.recursive(LEAVES.filter(lambda leaf: not isinstance(leaf, bytes)), lambda i: st.lists(i, max_size=2)))
def test_a_subclass_crosses_as_its_base(value):
    base = type(value)
    if base in (int, str, float, list):
        odd = type("Odd", (base,), {"__eq__": lambda self, other: True, "__hash__": base.__hash__})(value)
        assert type(decode(encode(odd, refuse), refuse)) is base


def test_anything_else_goes_by_a_handle():
    thing = object()
    assert decode(encode([thing], lambda value: 7), lambda handle: handle) == [7]


@pytest.mark.parametrize(
    "raw", [{}, {"a": 1, "b": 2}, {"Fraction": "1/0"}, {"set": [[1]]}, {"date": "soon"}, {"tuple": 5}, {"who": 1}]
)
def test_a_damaged_value_is_no_value(raw):
    with pytest.raises(WireError):
        decode(raw, refuse)


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(WireError, match="nested"):
        encode(value, refuse)


def test_messages_cross_a_pipe_whole_and_a_damaged_one_is_told():
    reading, writing = os.pipe()
    send(writing, {"a": [1, "é"]})
    assert receive(reading) == {"a": [1, "é"]}
    os.write(writing, b"\xff\xff\xff\xff")
    with pytest.raises(WireError, match="too large"):
        receive(reading)
    os.close(writing)
    with pytest.raises(EOFError):
        receive(reading)
    os.close(reading)


@pytest.mark.parametrize("frame", [b"", b"\0\0\0\x05{}", framed([]) + b"x", b"\0\0\0\x01{"])
def test_a_frame_is_one_whole_message(frame):
    assert unframed(framed([1])) == [1]
    with pytest.raises(WireError):
        unframed(frame)
