"""A gateway's book: what it admits, what it asks for, what it gives back."""

import asyncio

import pytest

from serve_app.core import BudgetExceeded, LedgerError


@pytest.fixture
def day(nano):
    """Settings with a limit of so many nano-dollars a day."""

    def build(nusd, **more):
        return {"total": [{"per": "day", "usd": nano(nusd)}], **more}

    return build


async def outcomes(calls):
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(result is None or isinstance(result, BudgetExceeded) for result in results)
    return [result is None for result in results]


@pytest.mark.parametrize("unit", ["usd", "tokens"])
async def test_of_a_hundred_at_once_a_budget_for_ten_admits_ten(world, unit, nano):
    limit = {"usd": nano(1000)} if unit == "usd" else {"tokens": 1000}
    book, _ = world.gateway({"total": [{"per": "minute", **limit}]})
    admitted = await outcomes(book.reserve(f"q{index}", None, 100, 100) for index in range(100))
    assert sum(admitted) == 10
    assert book.num_refused == 90


async def test_a_hundred_at_once_over_four_gateways_never_get_more_than_ten(world, day):
    books = [world.gateway(day(1000))[0] for _ in range(4)]
    admitted = await outcomes(books[index % 4].reserve(f"q{index}", None, 100, 0) for index in range(100))
    assert 7 <= sum(admitted) <= 10


async def test_what_a_query_did_not_use_is_free_again(world, day):
    book, _ = world.gateway(day(1000))
    for index in range(50):
        await book.reserve(f"q{index}", None, 500, 0)
        book.settle(f"q{index}", 10, 0)
    assert book.report()[0].used.nusd == 500


async def test_while_the_slice_suffices_nobody_is_asked(world, day):
    book, line = world.gateway(day(100_000, slice_share=0.1))
    for index in range(50):
        await book.reserve(f"q{index}", None, 100, 0)
    assert len(line.asked) == 1


async def test_a_low_slice_is_topped_up_before_anybody_waits(world, day):
    book, line = world.gateway(day(100_000, slice_share=0.01))
    for index in range(200):
        await book.reserve(f"q{index}", None, 100, 0)
        for _ in range(10):  # the background's turn
            await asyncio.sleep(0)
    waited = [bool(ask.lacking) for asks in line.asked for ask in asks]
    assert waited == [True] + [False] * 20


async def test_a_refused_gateway_does_not_ask_again_at_once(world, day):
    book, line = world.gateway(day(100))
    await book.reserve("q", None, 100, 0)
    for index in range(20):
        with pytest.raises(BudgetExceeded):
            await book.reserve(f"q{index}", None, 100, 0)
    assert len(line.asked) <= 2
    world.clock.now_s += 1
    with pytest.raises(BudgetExceeded):
        await book.reserve("r", None, 100, 0)
    assert len(line.asked) <= 3


async def test_without_limits_nothing_is_kept_or_asked(world):
    book, line = world.gateway({})
    await book.reserve("q", None, 10**15, 10**9)
    assert await book.extend("q", 10**15, 10**9)
    book.settle("q", 1, 1)
    assert (line.asked, book.report(), book.warnings(None)) == ([], (), ())


async def test_the_error_says_which_budget_and_when_it_is_renewed(world, key):
    book, _ = world.gateway({"each_key": [{"per": "minute", "tokens": 10}, {"per": "day", "tokens": 15}]})
    await book.reserve("q1", key("ada"), 0, 10)
    with pytest.raises(BudgetExceeded, match="The minute budget of key 'ada' is used up") as caught:
        await book.reserve("q2", key("ada"), 0, 5)
    assert caught.value.retry_after_s == 60
    world.clock.now_s += 60
    await book.reserve("q3", key("ada"), 0, 5)
    world.clock.now_s += 60
    with pytest.raises(BudgetExceeded, match="The day budget") as caught:
        await book.reserve("q4", key("ada"), 0, 1)
    assert caught.value.retry_after_s == 12 * 3600 - 120


async def test_keys_do_not_use_up_each_others_budgets_but_the_common_one(world, key, nano):
    each, total = {"per": "day", "usd": nano(100)}, {"per": "day", "usd": nano(150)}
    book, _ = world.gateway({"each_key": [each], "total": [total]})
    await book.reserve("q1", key("ada"), 100, 0)
    with pytest.raises(BudgetExceeded, match="'ada'"):
        await book.reserve("q2", key("ada"), 1, 0)
    await book.reserve("q3", key("bob"), 50, 0)
    with pytest.raises(BudgetExceeded, match="all queries"):
        await book.reserve("q4", key("bob"), 1, 0)


async def test_a_refusal_takes_nothing_of_the_other_budgets(world, key, nano):
    each, total = {"per": "day", "usd": nano(10)}, {"per": "day", "usd": nano(100)}
    book, _ = world.gateway({"each_key": [each], "total": [total]})
    for index in range(10):
        with pytest.raises(BudgetExceeded):
            await book.reserve(f"q{index}", key("ada"), 11, 0)
    assert book.report()[0].used.nusd == 0


async def test_settling_counts_once_and_nothing_for_strangers(world, day):
    book, _ = world.gateway(day(100))
    await book.reserve("q", None, 80, 0)
    for _ in range(3):
        book.settle("q", 30, 0)
    book.settle("stranger", 30, 0)
    assert book.report()[0].used.nusd == 30


async def test_a_query_cannot_be_reserved_for_twice(world, day):
    book, _ = world.gateway(day(100))
    await book.reserve("q", None, 1, 0)
    with pytest.raises(ValueError, match="reserved for already"):
        await book.reserve("q", None, 1, 0)


async def test_an_escalation_that_does_not_fit_stays_small(world, day):
    book, _ = world.gateway(day(100))
    await book.reserve("q", None, 40, 0)
    assert await book.extend("q", 50, 0)
    assert not await book.extend("q", 50, 0)
    assert book.report()[0].used.nusd == 90


async def test_an_escalation_that_does_not_fit_is_refused_by_policy(world, day):
    book, _ = world.gateway(day(100, over="refuse"))
    await book.reserve("q", None, 40, 0)
    with pytest.raises(BudgetExceeded):
        await book.extend("q", 70, 0)
    book.settle("q", 40, 0)


async def test_an_escalation_after_the_windows_end_belongs_to_the_querys_window(world, nano):
    book, _ = world.gateway({"total": [{"per": "minute", "usd": nano(100)}]})
    await book.reserve("q", None, 60, 0)
    world.clock.now_s += 60
    await book.tend()
    assert not await book.extend("q", 50, 0)
    assert await book.extend("q", 40, 0)
    assert book.report()[0].used.nusd == 0
    book.settle("q", 100, 0)
    await book.reserve("r", None, 100, 0)


async def test_windows_that_are_over_are_forgotten(world, nano):
    book, _ = world.gateway({"total": [{"per": "minute", "usd": nano(100)}]})
    for index in range(5):
        await book.reserve(f"q{index}", None, 100, 0)
        book.settle(f"q{index}", 100, 0)
        world.clock.now_s += 60
        await book.tend()
    assert len(book.report()) == 1


async def test_an_idle_slice_goes_back_to_others(world, day):
    one, _ = world.gateway(day(100, slice_share=1))
    other, _ = world.gateway(day(100, slice_share=1))
    await one.reserve("q", None, 10, 0)
    one.settle("q", 10, 0)
    with pytest.raises(BudgetExceeded):
        await other.reserve("r", None, 90, 0)
    world.clock.now_s += 10
    await one.tend()
    await other.reserve("r", None, 90, 0)


async def test_closing_gives_back_what_is_free_and_keeps_what_runs(world, day):
    one, _ = world.gateway(day(100, slice_share=1))
    other, _ = world.gateway(day(100))
    await one.reserve("done", None, 10, 0)
    one.settle("done", 10, 0)
    await one.reserve("runs", None, 20, 0)
    await one.close()
    await other.reserve("r", None, 70, 0)
    with pytest.raises(BudgetExceeded):
        await other.reserve("s", None, 1, 0)


async def test_what_a_query_cost_beyond_its_reservation_counts_everywhere(world, day):
    one, _ = world.gateway(day(100))
    other, _ = world.gateway(day(100))
    await one.reserve("q", None, 10, 0)
    one.settle("q", 60, 0)
    await one.tend()
    with pytest.raises(BudgetExceeded):
        await other.reserve("r", None, 50, 0)
    await other.reserve("r", None, 30, 0)


async def test_a_cancelled_reservation_leaves_nothing(world, day):
    book, _ = world.gateway(day(100))
    task = asyncio.create_task(book.reserve("q", None, 100, 0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert book.report()[0].used.nusd == 0
    await book.reserve("q", None, 100, 0)


async def test_a_budget_that_is_nearly_used_up_is_warned_of(world, day, caplog, key):
    book, _ = world.gateway(day(100, warn_at=0.8))
    await book.reserve("q", None, 79, 0)
    assert book.warnings(None) == ()
    await book.reserve("r", None, 1, 0)
    warning = "The day budget of all queries is 80% used; it is renewed at 2026-03-02 00:00 UTC."
    assert book.warnings(key("ada")) == (warning,)
    await book.reserve("s", None, 1, 0)
    assert [record.getMessage() for record in caplog.records] == [warning]


async def test_a_warning_is_fit_for_a_header_whatever_the_keys_name(world, key):
    book, _ = world.gateway({"each_key": [{"per": "day", "tokens": 1}]})
    await book.reserve("q", key("schlüssel"), 0, 1)
    (warning,) = book.warnings(key("schlüssel"))
    assert warning.isascii()


async def test_new_limits_count_at_once_and_what_was_used_stays(world, day):
    book, _ = world.gateway(day(100))
    await book.reserve("q", None, 100, 0)
    book.reconfigure(book._settings.model_validate(day(150)))
    await book.reserve("r", None, 50, 0)
    with pytest.raises(BudgetExceeded):
        await book.reserve("s", None, 1, 0)


async def test_an_authority_that_is_away_may_be_overrun_but_not_by_a_whole_limit(world, day):
    book, line = world.gateway(day(100, slice_share=0.2))
    await book.reserve("q0", None, 20, 0)
    line.fault = "request"
    await book.reserve("q1", None, 60, 0)
    with pytest.raises(BudgetExceeded):
        await book.reserve("q2", None, 30, 0)
    assert (book.num_overrun, str(book.last_error)) == (1, "The ledger is away.")


async def test_an_authority_that_is_away_is_not_asked_for_every_query(world, day):
    book, line = world.gateway(day(1000))
    line.fault = "request"
    for index in range(20):
        await book.reserve(f"q{index}", None, 10, 0)
    assert len(line.asked) == 1
    world.clock.now_s += 1
    line.fault = None
    await book.reserve("q", None, 10, 0)
    assert book.last_error is None


async def test_an_overrun_is_charged_when_the_authority_is_back(world, day):
    one, line = world.gateway(day(100))
    other, _ = world.gateway(day(100))
    line.fault = "request"
    await one.reserve("q", None, 70, 0)
    line.fault = None
    world.clock.now_s += 1
    await one.tend()
    with pytest.raises(BudgetExceeded):
        await other.reserve("r", None, 40, 0)


async def test_an_authority_that_is_away_may_mean_refusal(world, day):
    book, line = world.gateway(day(100, when_away="refuse", slice_share=0.2))
    await book.reserve("q0", None, 10, 0)
    line.fault = "request"
    await book.reserve("q1", None, 5, 0)
    with pytest.raises(LedgerError, match="does not answer"):
        await book.reserve("q2", None, 60, 0)
    assert not await book.extend("q1", 60, 0)


async def test_a_silent_authority_is_waited_for_only_so_long(world, day):
    class Silent:
        async def lease(self, gateway, asks):
            await asyncio.Event().wait()

    book, _ = world.gateway(day(100), timeout_s=0.01)
    book._source = Silent()
    await book.reserve("q", None, 10, 0)
    assert isinstance(book.last_error, TimeoutError)
    book._source = world.lines[0]
