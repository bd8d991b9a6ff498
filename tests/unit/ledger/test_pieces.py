"""Pieces of a time range: disjoint, nothing left out, and each where its figures are."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.ledger.pieces import Piece, pieces
from serve_app.ledger.times import DAY_S, HOUR_S

moments = st.one_of(
    st.floats(-5 * DAY_S, 5 * DAY_S, allow_subnormal=False),  # the hour of so small a time rounds to nothing
    st.integers(-100, 100).map(lambda hour: float(hour * HOUR_S)),
    st.integers(-5, 5).map(lambda day: float(day * DAY_S)),
)


@settings(deadline=None)
@given(st.none() | moments, st.none() | moments, st.booleans(), st.lists(moments, max_size=5))
def test_every_moment_of_the_range_is_in_one_piece_and_no_other_is(since_s, until_s, by_hour, probes):
    found = pieces(since_s, until_s, by_hour=by_hour)
    for moment in [*probes, *(edge for edge in (since_s, until_s) if edge is not None)]:
        inside = (since_s is None or since_s <= moment) and (until_s is None or moment < until_s)
        assert sum(_holds(piece, moment) for piece in found) == inside


@settings(deadline=None)
@given(st.none() | moments, st.none() | moments, st.booleans())
def test_totals_are_whole_and_accounts_lie_within_one_hour(since_s, until_s, by_hour):
    for piece in pieces(since_s, until_s, by_hour=by_hour):
        if piece.span_s:
            assert not by_hour or piece.span_s == HOUR_S
            assert all(edge is None or edge % piece.span_s == 0 for edge in (piece.since_s, piece.until_s))
        else:
            hour_s = math.floor(piece.since_s / HOUR_S) * HOUR_S
            assert hour_s <= piece.since_s < piece.until_s <= hour_s + HOUR_S


def test_at_most_two_pieces_are_accounts_however_long_the_range_is():
    found = pieces(1.0, 400 * DAY_S + 1.0)
    assert [piece.span_s for piece in found] == [0, HOUR_S, DAY_S, 0]


def test_the_ends_of_pruned_days_are_whole_hours():
    assert pieces(90.0, 2 * DAY_S + 90.0, pruned={0, 2}) == [
        Piece(DAY_S, 0, 2 * DAY_S),
        Piece(HOUR_S, 2 * DAY_S, 2 * DAY_S + HOUR_S),
    ]


def _holds(piece: Piece, moment: float) -> bool:
    return (piece.since_s is None or piece.since_s <= moment) and (piece.until_s is None or moment < piece.until_s)
