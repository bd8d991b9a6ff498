"""The rule for the limit, one cohort after another."""

from hypothesis import given
from hypothesis import strategies as st

from serve_app.gateway.admission import AdaptiveLimit

TARGET_S = 1.0
MOST = 64


class Clock:
    """Seconds, set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def limit_of(least: int = 2, most: int = MOST) -> tuple[AdaptiveLimit, Clock]:
    clock = Clock()
    return AdaptiveLimit(TARGET_S, 0.99, least, most, clock), clock


def cohort(limit: AdaptiveLimit, clock: Clock, delay_s: float, num_in_flight: int, num: int = 20) -> None:
    """So many queries begin together; each has its first text after so long."""
    queries = [limit.admitted(num_in_flight) for _ in range(num)]
    clock.now_s += delay_s
    for query in queries:
        query.first_text()
    clock.now_s += TARGET_S / 2


def test_it_begins_with_all_places():
    limit, _ = limit_of()
    assert limit.places == MOST


def test_late_first_texts_lower_it_by_half_of_their_share():
    limit, clock = limit_of()
    cohort(limit, clock, 2.0, num_in_flight=MOST)
    assert limit.places == MOST // 2


def test_it_falls_from_what_was_in_flight_not_from_what_was_allowed():
    limit, clock = limit_of()
    cohort(limit, clock, 2.0, num_in_flight=12)
    assert limit.places == 8


def test_it_rises_in_growing_steps_while_first_texts_are_in_time_and_it_is_used():
    limit, clock = limit_of(most=400)
    cohort(limit, clock, 2.0, num_in_flight=400)
    seen = []
    for _ in range(8):
        cohort(limit, clock, 0.1, num_in_flight=limit.places)
        seen.append(limit.places)
    assert seen == [200, 200, 201, 202, 203, 205, 207, 209]


def test_up_to_what_held_it_comes_back_with_each_first_text_in_time():
    limit, clock = limit_of()
    cohort(limit, clock, 0.1, num_in_flight=60)
    assert limit.places == MOST
    cohort(limit, clock, 2.0, num_in_flight=MOST)
    assert limit.places == 32
    for places in (37, 42, 47, 48):
        for query in [limit.admitted(limit.places) for _ in range(5)]:
            query.first_text()
        assert limit.places == places, "up to the middle between before and after the fall"


def test_what_held_is_forgotten_fall_by_fall():
    limit, clock = limit_of()
    cohort(limit, clock, 0.1, num_in_flight=60)
    seen = [limit.places]
    for _ in range(4):
        queries = [limit.admitted(limit.places) for _ in range(40)]
        for query in queries[:20]:
            query.first_text()
        seen.append(limit.places)
        clock.now_s += TARGET_S
    assert seen == [MOST, MOST, 56, 49, 42], (
        "half of them late: to seven eighths, the middle between all and three quarters"
    )


def test_traffic_that_does_not_use_it_does_not_raise_it():
    limit, clock = limit_of()
    cohort(limit, clock, 2.0, num_in_flight=MOST)
    for _ in range(5):
        cohort(limit, clock, 0.1, num_in_flight=10)
    assert limit.places == 32


def test_a_refused_query_says_that_more_would_be_used():
    limit, clock = limit_of()
    cohort(limit, clock, 2.0, num_in_flight=MOST)
    for _ in range(10):
        limit.refused()
        cohort(limit, clock, 0.1, num_in_flight=10)
    assert limit.places > 32


def test_a_few_slow_queries_of_idle_traffic_do_not_lower_it():
    limit, clock = limit_of()
    for _ in range(50):
        cohort(limit, clock, 5.0, num_in_flight=1, num=1)
    assert limit.places == MOST


def test_queries_that_have_no_first_text_at_all_are_late():
    limit, clock = limit_of()
    for _ in range(20):
        limit.admitted(MOST)
    clock.now_s += TARGET_S
    assert limit.places == MOST // 2


def test_an_engine_that_is_full_is_as_good_as_late():
    limit, clock = limit_of()
    queries = [limit.admitted(MOST) for _ in range(20)]
    for query in queries:
        query.refused()
    clock.now_s += TARGET_S / 2
    assert limit.places == MOST // 2


def test_queries_that_were_left_or_failed_say_nothing():
    limit, clock = limit_of()
    for _ in range(40):
        limit.admitted(MOST).left()
    clock.now_s += TARGET_S / 2
    assert limit.places == MOST


def test_one_decision_is_felt_before_the_next():
    limit, clock = limit_of()
    before = [limit.admitted(MOST) for _ in range(20)]
    clock.now_s += TARGET_S / 2
    more = [limit.admitted(MOST) for _ in range(200)]
    clock.now_s += TARGET_S
    for query in (*before, *more):
        query.first_text()
    assert limit.places == MOST // 2


events = st.lists(
    st.tuples(st.sampled_from(["begin", "text", "left", "full", "wait"]), st.floats(0.001, 3.0), st.integers(1, 300)),
    max_size=300,
)


@given(events=events, least=st.integers(1, 100), most=st.integers(1, 100))
def test_it_stays_within_its_bounds_whatever_happens(events, least, most):
    limit, clock = limit_of(least, most)
    open_ones = []
    for what, wait_s, num in events:
        if what == "begin":
            open_ones += [limit.admitted(num)] * 1 + [limit.admitted(num) for _ in range(num % 25)]
        elif what == "wait":
            clock.now_s += wait_s
        elif open_ones:
            query = open_ones.pop(num % len(open_ones))
            {"text": query.first_text, "left": query.left, "full": query.refused}[what]()
        assert min(least, most) <= limit.places <= most
