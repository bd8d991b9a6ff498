"""What is remembered of texts, and for how long."""

import numpy as np

from serve_app.router.cache import Known, RecentTexts

SEEN = Known(np.array([1.0], dtype=np.float32), None)
ENCODED = Known(np.array([1.0], dtype=np.float32), np.array([1.0], dtype=np.float32))


def test_the_least_recently_used_text_goes_first() -> None:
    recent = RecentTexts(2)
    recent.put("a", SEEN)
    recent.put("b", SEEN)
    assert recent.get("a", with_vector=False)
    recent.put("c", SEEN)
    assert len(recent) == 2
    assert recent.get("b", with_vector=False) is None
    assert recent.get("a", with_vector=False) is SEEN


def test_a_text_without_its_vector_is_no_hit_for_who_needs_one() -> None:
    recent = RecentTexts(2)
    recent.put("a", SEEN)
    assert recent.get("a", with_vector=True) is None
    recent.put("a", ENCODED)
    assert recent.get("a", with_vector=True) is ENCODED
    assert (recent.hits, recent.misses) == (1, 1)


def test_a_peek_neither_counts_nor_refreshes() -> None:
    recent = RecentTexts(2)
    recent.put("a", SEEN)
    recent.put("b", SEEN)
    assert recent.peek("a", with_vector=False) is SEEN
    recent.put("c", SEEN)
    assert recent.peek("a", with_vector=False) is None
    assert (recent.hits, recent.misses) == (0, 0)
