"""No near pair stands across two parts."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import DataError
from serve_app.distill.near import near_pairs
from serve_app.distill.split import Shares, split

BOUND = 0.6
WORDS = [
    "card",
    "pin",
    "lost",
    "change",
    "refund",
    "please",
    "rate",
    "money",
    "app",
    "bank",
    "phone",
    "wrong",
    "charge",
    "late",
    "fee",
    "cash",
    "top",
    "up",
]
SEEDS = st.integers(0, 10_000)


def rows(seed, num_rows=60):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(2, 8))) for _ in range(num_rows // 2)]
    texts += [f"{text} {rng.choice(WORDS)}" for text in texts]
    return [f"q{index}" for index in range(len(texts))], texts


@given(SEEDS)
def test_no_near_pair_stands_across_parts(seed):
    ids, texts = rows(seed)
    parts = split(ids, texts, BOUND, Shares(), seed)
    across = [pair for pair in near_pairs(texts, BOUND) if parts[pair.first] != parts[pair.second]]
    assert not across


@given(SEEDS)
def test_the_order_of_the_rows_does_not_matter(seed):
    ids, texts = rows(seed)
    order = random.Random(seed + 1).sample(range(len(ids)), len(ids))
    parts = split(ids, texts, BOUND, Shares(), 0)
    shuffled = split([ids[i] for i in order], [texts[i] for i in order], BOUND, Shares(), 0)
    assert dict(zip(ids, parts, strict=True)) == dict(zip([ids[i] for i in order], shuffled, strict=True))


def test_the_shares_are_about_kept():
    ids, texts = rows(3, 400)
    counts = Counter(split(ids, texts, BOUND, Shares(0.25, 0.25)))
    assert abs(counts["gate"] - 100) <= 5
    assert abs(counts["validation"] - 100) <= 5


def test_a_part_with_no_row_is_an_error_that_says_why():
    with pytest.raises(DataError, match=r"No row is left for the part 'validation': 40 rows form 1 groups"):
        split([str(index) for index in range(40)], ["change my pin"] * 40, BOUND, Shares())
