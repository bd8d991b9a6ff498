"""Frames and records: what is read is what was written, up to the first byte that is not."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import LedgerError
from serve_app.ledger.journal.frames import MAGIC, PREFIX, Kind, SegmentReader, pack
from serve_app.ledger.journal.records import decode_answer, decode_opening, decode_query_id, encode
from tests.unit.ledger.scripted import opening

BASE = 70_000
PAYLOADS = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=60)), max_size=8)


def read(data: bytes) -> tuple[list[tuple[Kind, bytes]], int | None, list[tuple[int, int]]]:
    """Frames, where the damage begins, and the frames' positions in the journal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.segment"
        path.write_bytes(data)
        reader = SegmentReader(path)
        frames = list(reader.frames())
        return (
            [(frame.kind, frame.payload) for frame in frames],
            reader.damaged_at,
            [(frame.start, frame.stop) for frame in frames],
        )


def written(payloads: list[tuple[Kind, bytes]]) -> tuple[bytes, list[int]]:
    """A segment without its zeros, and the offset behind each of its frames."""
    data, stops = PREFIX.pack(MAGIC, BASE), []
    for kind, payload in payloads:
        data += pack(kind, payload)
        stops.append(len(data))
    return data, stops


@given(PAYLOADS, st.integers(0, 40))
def test_frames_are_read_back_with_their_positions(payloads, num_zeros):
    data, stops = written(payloads)
    found, damaged_at, positions = read(data + b"\0" * num_zeros)
    assert (found, damaged_at) == (payloads, None)
    assert [stop for _, stop in positions] == [BASE + stop for stop in stops]
    assert [start for start, _ in positions] == [BASE + start for start in [PREFIX.size, *stops][:-1]]


@given(PAYLOADS, st.data())
def test_cut_at_any_byte_what_was_whole_is_read(payloads, data):
    whole, stops = written(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    found, damaged_at, _ = read(whole[:cut] + b"\0" * data.draw(st.integers(0, 9)))
    num_whole = sum(stop <= cut for stop in stops)
    assert found[:num_whole] == payloads[:num_whole]
    assert len(found) <= num_whole + 1  # zeros behind the cut may be the very bytes that were cut off
    if damaged_at is not None:
        assert damaged_at == (0 if cut < PREFIX.size else ([PREFIX.size, *stops][len(found)]))


@given(PAYLOADS.filter(bool), st.data())
def test_a_flipped_bit_ends_the_reading_at_its_frame(payloads, data):
    whole, stops = written(payloads)
    index = data.draw(st.integers(PREFIX.size, len(whole) - 1))
    spoilt = bytearray(whole)
    spoilt[index] ^= 1 << data.draw(st.integers(0, 7))
    found, damaged_at, _ = read(bytes(spoilt))
    num_before = sum(stop <= index for stop in stops)
    assert found == payloads[:num_before]
    assert damaged_at == [PREFIX.size, *stops][num_before]


@given(st.binary(max_size=200).filter(lambda data: not data.startswith(MAGIC)))
def test_garbage_is_no_frame_and_no_error(data):
    found, damaged_at, _ = read(data)
    assert found == []
    assert (damaged_at is None) == (not data.strip(b"\0"))


def test_reading_from_a_position_skips_what_lies_before(tmp_path):
    payloads = [(Kind.END, bytes([index]) * 5) for index in range(6)]
    data, stops = written(payloads)
    (tmp_path / "1.segment").write_bytes(data)
    frames = list(SegmentReader(tmp_path / "1.segment").frames(BASE + stops[2]))
    assert [(frame.kind, frame.payload) for frame in frames] == payloads[3:]


def test_numbers_that_are_not_finite_come_back(answer):
    account = answer("q", ms=math.inf, confidence=-math.inf, first_token_ms=0.1 + 0.2, always_large_nusd=2**70)
    assert decode_answer(encode(account)) == account
    assert math.isnan(decode_answer(encode(replace(account, ms=math.nan))).ms or 0.0)


def test_whole_accounts_come_back(answer, attempt):
    account = answer("q", attempt("small", "escalated", 100, 10, role="member"), tier="flex", cache="exact")
    assert decode_answer(encode(account)) == account
    assert decode_opening(encode(opening("q", key_id="k"))) == opening("q", key_id="k")
    assert decode_query_id(encode(account)) == "q"


def test_text_that_no_file_can_hold_is_written_all_the_same(answer):
    assert decode_answer(encode(answer("q", reason="half \ud83d of it", confidence=math.inf))) == answer(
        "q", reason="half ? of it", confidence=math.inf
    )


def test_another_version_may_add_fields_and_lack_some(answer):
    payload = encode(answer("q")).replace(b'"tier":"default"', b'"colour":"red"')
    assert decode_answer(payload) == answer("q")
    with pytest.raises(LedgerError, match=r"cannot be read: outcome: Input should be 'accepted'"):
        decode_answer(payload.replace(b'"outcome":"accepted"', b'"outcome":"forgiven"'))
