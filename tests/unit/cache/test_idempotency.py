"""A repeated request is run once."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.cache import Claim, IdempotentAnswers, KeyReused, StoredResponse
from serve_app.core import RequestError

PATH = "/v1/chat/completions"
GOOD = StoredResponse(200, ((b"content-type", b"application/json"),), b"{}")


async def run(answers, body=b"{}", key="k", key_id="alice", response=GOOD):
    """What a gateway does; whether it ran."""
    claimed = await answers.claim(key_id, key, PATH, body)
    if isinstance(claimed, StoredResponse):
        return claimed, False
    with claimed:
        claimed.fulfil(response)
    return response, True


async def test_the_second_time_the_same_bytes_come_back():
    answers = IdempotentAnswers()
    assert await run(answers) == (GOOD, True)
    assert await run(answers) == (GOOD, False)
    assert answers.num_repeated == 1


async def test_keys_of_two_callers_have_nothing_to_do_with_each_other():
    answers = IdempotentAnswers()
    assert (await run(answers))[1]
    assert (await run(answers, body=b"other", key_id="bob"))[1]
    assert (await run(answers, key_id=None))[1]


async def test_another_request_under_the_key_is_refused_while_it_runs_and_later():
    answers = IdempotentAnswers()
    with await answers.claim("alice", "k", PATH, b"{}") as claim:
        with pytest.raises(KeyReused, match="another request"):
            await answers.claim("alice", "k", PATH, b"[]")
        claim.fulfil(GOOD)
    with pytest.raises(KeyReused):
        await answers.claim("alice", "k", "/v1/completions", b"{}")


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_empty_or_long_key_is_refused(key):
    with pytest.raises(RequestError, match="Idempotency-Key"):
        await IdempotentAnswers().claim("alice", key, PATH, b"{}")


async def test_those_that_come_meanwhile_wait_for_the_first():
    answers = IdempotentAnswers()
    with await answers.claim("alice", "k", PATH, b"{}") as claim:
        waiting = [asyncio.create_task(run(answers)) for _ in range(5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        claim.fulfil(GOOD)
    assert await asyncio.gather(*waiting) == [(GOOD, False)] * 5


async def test_where_the_first_fails_one_of_those_who_wait_runs_it():
    answers = IdempotentAnswers()
    with pytest.raises(RuntimeError), await answers.claim("alice", "k", PATH, b"{}"):
        waiting = [asyncio.create_task(run(answers)) for _ in range(5)]
        await asyncio.sleep(0)
        raise RuntimeError("the engine is away")
    found = await asyncio.gather(*waiting)
    assert [response for response, _ in found] == [GOOD] * 5
    assert sum(ran for _, ran in found) == 1


async def test_one_who_waits_may_leave():
    answers = IdempotentAnswers()
    with await answers.claim("alice", "k", PATH, b"{}") as claim:
        leaving, staying = (asyncio.create_task(run(answers)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        claim.fulfil(GOOD)
    assert await staying == (GOOD, False)
    assert leaving.cancelled() or (await asyncio.gather(leaving, return_exceptions=True))


async def test_an_answer_too_large_to_keep_still_reaches_those_who_wait():
    answers = IdempotentAnswers(max_bytes=100)
    with await answers.claim("alice", "k", PATH, b"{}") as claim:
        waiting = asyncio.create_task(run(answers))
        await asyncio.sleep(0)
        claim.fulfil(GOOD)
    assert await waiting == (GOOD, False)
    assert answers.num_bytes == 0
    assert (await run(answers))[1]


async def test_an_answer_is_forgotten_after_its_time(clock):
    answers = IdempotentAnswers(ttl_s=10, clock=clock)
    await run(answers)
    clock.now_s += 10
    assert (await run(answers, body=b"[]"))[1]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3000)), max_size=40))
def test_every_request_runs_once_while_its_answer_is_kept(steps):
    async def story() -> None:
        answers, ran = IdempotentAnswers(max_bytes=8000), {}
        for key, works, size in steps:
            claimed = await answers.claim("alice", str(key), PATH, b"")
            if isinstance(claimed, Claim):
                with claimed:
                    if works:
                        ran[key] = StoredResponse(200, (), b"x" * size)
                        claimed.fulfil(ran[key])
            else:
                assert claimed is ran[key]
            assert 0 <= answers.num_bytes <= 8000

    asyncio.run(story())
