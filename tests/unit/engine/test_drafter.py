import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.drafter import NgramDrafter


def scan(token_ids, max_draft, ngram):
    """What followed the latest earlier occurrence of the longest suffix that has one, found by reading it all."""
    for length in range(min(ngram, len(token_ids) - 1), 1, -1):
        suffix = token_ids[-length:]
        for start in range(len(token_ids) - length - 1, -1, -1):
            if token_ids[start : start + length] == suffix:
                return tuple(token_ids[start + length :][:max_draft])
    return ()


def drafter(token_ids, **options):
    made = NgramDrafter(**options)
    made.extend(token_ids)
    return made


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 5), st.integers(2, 4), st.integers(0, 40))
def test_proposals_are_those_of_a_scan_of_the_whole_text(token_ids, max_draft, ngram, num_prompt):
    made = NgramDrafter(ngram, least_hit_rate=0.0)
    made.extend(token_ids[:num_prompt])
    for token_id in token_ids[num_prompt:]:
        made.add(token_id)
    assert made.propose(max_draft) == scan(token_ids, max_draft, ngram)


@pytest.mark.parametrize(
    ("token_ids", "expected"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], (4, 5, 1)),
        ([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], (4, 9, 2)),  # three alike go before the later two
        ([8, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], (5, 1, 2)),
        ([1, 2, 3, 4, 2], ()),  # one alike is chance
        ([], ()),
    ],
)
def test_the_longest_latest_occurrence_is_continued(token_ids, expected):
    assert drafter(token_ids).propose(3) == expected


def test_a_row_whose_guesses_fail_stops_proposing_and_starts_again_when_they_would_be_right():
    made = drafter([1, 2])
    followers = iter(range(100, 200))
    proposed = []
    for _ in range(20):  # what follows (1, 2) is new each time
        made.add(next(followers))
        made.add(1)
        made.add(2)
        proposed.append(bool(made.propose(4)))
    assert proposed[0] and not any(proposed[10:])
    for token_id in [5, 6, 7, 8] * 6:
        made.add(token_id)
    assert made.propose(4) == (5, 6, 7, 8)


def test_the_prompt_does_not_count_against_a_row():
    made = drafter([token_id for follower in range(100, 150) for token_id in (1, 2, follower)])
    made.extend((1, 2))
    assert made.propose(1) == (149,)


def test_proposing_changes_nothing():
    made = drafter([1, 2, 3, 1, 2])
    assert made.propose(2) == made.propose(2) == (3, 1)


def test_runs_shorter_than_two_are_refused():
    with pytest.raises(ValueError, match="use 2 or more"):
        NgramDrafter(1)
