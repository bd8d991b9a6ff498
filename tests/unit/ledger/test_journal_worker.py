"""The journal's thread: in order, to the end, and not ended by a bug."""

import pytest

from serve_app.ledger.journal.worker import Worker


def test_work_is_done_in_order_and_before_the_end() -> None:
    done: list[int] = []
    worker = Worker("test")
    for number in range(100):
        worker.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    worker.shutdown()
    assert done == list(range(100))


def test_what_fails_is_logged_and_the_rest_done(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    worker = Worker("test")
    worker.submit(lambda: print(1 / 0))
    worker.submit(lambda: done.append("next"))
    worker.shutdown()
    assert done == ["next"]
    assert "Work on the journal failed" in caplog.text


def test_nothing_is_taken_after_the_end_which_may_come_twice() -> None:
    worker = Worker("test")
    worker.shutdown()
    worker.shutdown()
    with pytest.raises(RuntimeError, match="test has ended"):
        worker.submit(lambda: None)
