"""How many flex queries may wait."""

import pytest

from serve_app.gateway.flex_window import FlexWindow

TARGET_S = 1.0


class Seconds:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def window(clock) -> FlexWindow:
    return FlexWindow(TARGET_S, clock)


def fill(window: FlexWindow) -> list:
    return [window.admitted(number + 1) for number in range(window.size)]


def test_it_opens_by_half_with_each_round_that_is_in_time(window):
    seen = []
    for _ in range(6):
        seen.append(window.size)
        for query in fill(window):
            query.first_text()
    assert seen == [2, 3, 4, 6, 9, 13]


def test_few_that_come_in_time_open_it_no_further(window):
    for _ in range(20):
        window.admitted(1).first_text()
    assert window.size == 2


@pytest.mark.parametrize(("ends", "waited_s", "size"), [
    ("first_text", 2.0, 5), ("left", 2.0, 5), ("refused", 0.0, 5), ("left", 0.5, 15), ("first_text", 0.5, 15),
])  # fmt: skip
def test_it_closes_to_half_where_one_was_late_or_refused_and_those_that_left_before_say_nothing(
    window, clock, ends, waited_s, size
):
    window.admitted(10).first_text()
    last = window.admitted(10)
    clock.now_s += waited_s
    getattr(last, ends)()
    last.left()
    assert window.size == size


def test_two_may_always_wait(window, clock):
    queries = fill(window)
    clock.now_s += 10 * TARGET_S
    for query in queries:
        query.left()
    assert window.size == 2
