"""The router as the graph sees it."""

import asyncio
import itertools
import pickle
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from serve_app.core import ConfigError, Message, Router, RouteScore
from serve_app.router import DomainRouter, domain


def user(*turns: str) -> tuple[Message, ...]:
    return tuple(Message("user", turn) for turn in turns)


def untimed(score: RouteScore) -> RouteScore:
    """What the router thinks, without how long it took."""
    return replace(score, busy_s=0.0)


async def test_a_query_gets_its_label_and_a_distribution(router: Router) -> None:
    score = await router.score(user("my landlord and the court"))
    assert score.label == "legal"
    assert sum(score.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert score.probability == max(score.probabilities.values())


async def test_a_conversation_keeps_its_route_through_a_follow_up(router: Router) -> None:
    score = await router.score(user("my landlord and the court", "yes please", "make it shorter"))
    assert score.label == "legal"


async def test_a_clear_change_of_topic_changes_the_route(router: Router) -> None:
    score = await router.score(user("my landlord and the court", "python compile loop bug"))
    assert score.label == "code"


async def test_below_the_floor_the_label_is_general_and_the_probability_stays(folder: Path, encoder: object) -> None:
    strict = DomainRouter.load(folder, encoder, floor=1.0)
    score = await strict.score(user("landlord cake python fever"))
    assert score.label == "general"
    assert score.probability == max(score.probabilities.values()) < 1


async def test_a_text_alone_scores_the_same_as_in_company_and_as_a_conversation(router: DomainRouter) -> None:
    texts = ["fever and a rash", "river cat", "python bug"]
    together = router.score_texts(texts)
    assert together == [router.score_texts([text])[0] for text in texts]
    assert together == [untimed(await router.score(user(text))) for text in texts]


async def test_a_text_seen_before_is_not_encoded_again(router: DomainRouter, encoder: "WordCounter") -> None:
    await router.score(user("my landlord"))
    await router.score(user("my landlord", "thanks"))
    assert encoder.encoded == ["my landlord"]


async def test_two_calls_at_once_with_the_same_text_encode_it_once(
    router: DomainRouter, encoder: "WordCounter"
) -> None:
    await asyncio.gather(*(router.score(user("my landlord")) for _ in range(5)))
    assert encoder.encoded == ["my landlord"]


async def test_the_time_of_scoring_is_told_and_shared_by_the_conversations_of_a_call(
    router: DomainRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain, "time", SimpleNamespace(perf_counter=map(float, itertools.count()).__next__))
    fresh = await router.score_many([user("my landlord"), user("a fever")])  # a tick to encode, a tick to settle
    assert [score.busy_s for score in fresh] == [1.0, 1.0]
    assert (await router.score(user("my landlord"))).busy_s == 1.0  # read before: a tick to settle


async def test_look_ups_are_counted(router: DomainRouter) -> None:
    for _ in range(3):
        await router.score(user("my landlord"))
    assert (router.recent.hits, router.recent.misses) == (2, 1)


async def test_many_conversations_are_encoded_in_one_call_and_score_as_alone(
    router: DomainRouter, encoder: "WordCounter"
) -> None:
    conversations = [user("my landlord"), (), user("a fever", "python compile loop bug"), user("my landlord")]
    together = await router.score_many(conversations)
    assert sorted(encoder.encoded) == ["a fever", "my landlord", "python compile loop bug"]
    assert encoder.calls == 1
    alone = [untimed(await router.score(conversation)) for conversation in conversations]
    assert [untimed(score) for score in together] == alone
    assert await router.score_many([]) == []


async def test_the_vector_is_that_of_the_last_text_read(router: DomainRouter, encoder: "WordCounter") -> None:
    score, vector = await router.score_with_vector(user("my landlord", "python compile loop bug", "thanks"))
    assert score.label == "code"
    assert encoder.calls == 1
    assert np.array_equal(vector, encoder.encode(["python compile loop bug"])[0])


async def test_no_text_at_all_has_a_vector_too(router: DomainRouter) -> None:
    score, vector = await router.score_with_vector(())
    assert untimed(score) == untimed(await router.score(()))
    assert vector.shape == (64,)


async def test_no_text_at_all_is_general(router: DomainRouter) -> None:
    assert (await router.score(())).label == "general"
    assert (await router.score(user("  "))).label == "general"


async def test_a_megabyte_is_cut_before_it_is_encoded(router: DomainRouter, encoder: "WordCounter") -> None:
    await router.score(user("court " * 200_000))
    assert len(encoder.encoded[0]) < 2_000


async def test_the_loop_runs_on_while_the_encoder_works(folder: Path) -> None:
    slow = BlockedEncoder()
    router = DomainRouter.load(folder, slow)
    scoring = asyncio.create_task(router.score(user("court")))
    await asyncio.to_thread(slow.started.wait, 5)
    await asyncio.sleep(0)  # the loop is free although the encoder is at work
    assert not scoring.done()
    slow.go_on.set()
    assert (await scoring).probabilities
    assert slow.thread_name.startswith("router")
    router.close()


async def test_many_queries_at_once_each_get_their_own_answer(router: DomainRouter) -> None:
    texts = ["my landlord", "a fever", "python bug", "cake recipe"] * 10
    scores = await asyncio.gather(*(router.score(user(text)) for text in texts))
    assert [score.label for score in scores] == ["legal", "medical", "code", "general"] * 10


async def test_a_score_survives_pickling(router: DomainRouter) -> None:
    score = await router.score(user("court"))
    assert pickle.loads(pickle.dumps(score)) == score


def test_another_encoder_is_refused(folder: Path, other_encoder: object) -> None:
    with pytest.raises(ConfigError, match=r"trained on encoder word-encoder, not on another-enco.*router train"):
        DomainRouter.load(folder, other_encoder)


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_a_floor_outside_its_range_is_refused(folder: Path, encoder: object, floor: float) -> None:
    with pytest.raises(ConfigError, match=r"router\.floor"):
        DomainRouter.load(folder, encoder, floor)


class WordCounter:
    """The part of the fixture's encoder that these tests read."""

    encoded: list[str]
    calls: int

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


class BlockedEncoder:
    """Waits in `encode` until it is let go."""

    digest = "word-encoder"

    def __init__(self) -> None:
        self.started, self.go_on, self.thread_name = threading.Event(), threading.Event(), ""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.thread_name = threading.current_thread().name
        self.started.set()
        assert self.go_on.wait(5)
        return np.full((len(texts), 64), 1 / 8, dtype=np.float32)
