"""The model `ensemble` through HTTP: what the client sees, what is billed, and what is set aside before."""

import asyncio

import openai
import pytest

from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.gateway import Tunables

DAY = {"per": "day"}
MEMBERS = [{"model": "base"}, {"model": "legal"}, {"model": "large"}]


@pytest.fixture
def make(make_world):
    def make_one(small=None, large="so it is 6", budgets=None, **ensemble):
        settings = {"members": MEMBERS, "normalise": "number", "early_stop": False, **ensemble}
        script = small or (lambda call: FakeAnswer("6 then", -0.3) if call.adapter else FakeAnswer("it is 4", -0.01))
        return make_world(
            small=FakeEngine(script, adapters={"legal": "v1"}),
            large=FakeEngine(default=large),
            overrides={"ensemble": settings, "cache": {"enabled": True}} | ({"budgets": budgets} if budgets else {}),
        )

    return make_one


async def cached(world):
    """How the response cache knew each of three equal queries."""
    return [(await world.chat(model="ensemble")).json()["headrace"]["cache"] for _ in range(3)]


async def test_the_official_client_gets_the_winning_answer_its_usage_and_the_whole_bill(make):
    world = make()
    answer = await world.openai().chat.completions.create(
        model="ensemble", messages=[{"role": "user", "content": "easy sum"}], logprobs=True
    )
    assert answer.choices[0].message.content == "so it is 6"
    assert "".join(token.token for token in answer.choices[0].logprobs.content) == "so it is 6"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 4)
    account = answer.model_extra["headrace"]
    assert [one["outcome"] for one in account["attempts"]] == ["counted", "counted", "accepted"]
    assert {one["role"] for one in account["attempts"]} == {"member"}
    assert account["reason"] == "vote: 2 of 3 answers agree, share 0.667"
    # 2 of prompt each; 3, 2 and 4 of answer: small 1 and 2 USD a million, large 10 and 20
    assert account["cost_usd"] == pytest.approx((2 + 6 + 2 + 4 + 20 + 80) / 1e6)
    assert account["always_large_usd"] == pytest.approx(100 / 1e6)
    assert account["always_large_basis"] == "measured"


async def test_a_large_member_that_lost_still_measures_always_large(make):
    world = make(small=lambda call: "4", large="so it is 6")
    account = (await world.chat(model="ensemble")).json()["headrace"]
    assert account["model"] == "small-model"
    assert account["always_large_basis"] == "measured"
    assert account["always_large_usd"] == pytest.approx((10 * 1 + 20 * 4) / 1e6)


async def test_members_that_were_not_waited_for_say_nothing_of_always_large(make):
    world = make(small=lambda call: "6 in all", early_stop=True)
    world.large.first_token_s = 30.0
    account = (await world.chat(model="ensemble")).json()["headrace"]
    assert [one["outcome"] for one in account["attempts"]] == ["accepted", "counted", "cancelled"]
    assert account["always_large_basis"] == "estimated"
    assert account["always_large_usd"] == pytest.approx((10 * 1 + 20 * 3) / 1e6)


async def test_a_stream_ends_with_the_account(make):
    stream = (
        await make()
        .openai()
        .chat.completions.create(
            model="ensemble",
            messages=[{"role": "user", "content": "sum"}],
            stream=True,
            stream_options={"include_usage": True},
            n=2,
        )
    )
    chunks = [chunk async for chunk in stream]
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["so it is 6"] * 2
    account = chunks[-1].model_extra["headrace"]
    assert [one["choice_index"] for one in account["attempts"]] == [0, 0, 0, 1, 1, 1]
    assert chunks[-1].usage.completion_tokens == 8


async def test_auto_asks_the_ensemble_on_its_routes_only(make):
    world = make(routes=["legal"])
    routed = (await world.chat("a contract")).json()["headrace"]
    assert [one["role"] for one in routed["attempts"]] == ["router", "member", "member", "member"]
    assert routed["route"] == "legal"
    other = (await world.chat("anything")).json()["headrace"]
    assert {one["role"] for one in other["attempts"]} == {"router", "answer"}


async def test_without_members_the_model_is_unknown(world):
    with pytest.raises(openai.NotFoundError, match="'ensemble' does not exist"):
        await world.openai().chat.completions.create(model="ensemble", messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize(("tokens", "status"), [(3 * (33 + 40) - 1, 429), (3 * (60 + 40), 200)])
async def test_the_budget_has_to_hold_the_worst_case_of_all_members(make, tokens, status):
    world = make(budgets={"total": [{**DAY, "tokens": tokens}]})
    response = await world.chat("sum", model="ensemble", max_tokens=40)
    assert response.status_code == status


async def test_a_query_that_auto_may_give_to_an_ensemble_reserves_for_it(make):
    world = make(budgets={"total": [{**DAY, "tokens": 2 * (33 + 40)}]}, routes=["legal"])
    assert (await world.chat("sum", max_tokens=40)).status_code == 429
    assert (await world.chat("sum", model="base", max_tokens=40)).status_code == 200


@pytest.mark.parametrize(("tokens", "status"), [(2 * (33 + 200) - 1, 429), (2 * (60 + 200), 200)])
async def test_in_lock_step_the_longest_answer_of_any_member_is_that_of_all(make, tokens, status):
    members = [{"model": "legal"}, {"model": "base"}]
    world = make(members=members, strategy="average", budgets={"total": [{**DAY, "tokens": tokens}]})
    world.services.purse.longest_answers = {"legal": 200, "base": 20}
    assert (await world.chat("sum", model="ensemble")).status_code == status


async def test_disagreement_goes_to_the_large_model_within_the_budget(make):
    members = [{"model": "base"}, {"model": "legal"}]
    world = make(members=members, escalate_below=0.8, budgets={"total": [{**DAY, "usd": "0.0003"}]})
    account = (await world.chat("sum", model="ensemble", max_tokens=40)).json()["headrace"]
    assert account["reason"].endswith("; no budget to escalate")
    assert not account["escalated"]
    rich = make(members=members, escalate_below=0.8)
    account = (await rich.chat("sum", model="ensemble", max_tokens=40)).json()["headrace"]
    assert (account["escalated"], account["model"]) == (True, "large-model")


async def test_a_greedy_ensembles_answer_is_given_again_and_a_drawn_one_is_not(make):
    world = make()
    assert await cached(world) == [None, None, "exact"]  # the first answer told which version of legal there is
    drawn = make(members=[{"model": "base", "samples": 2, "temperature": 0.7}])
    assert await cached(drawn) == [None, None, None]


async def test_an_answer_with_a_failed_member_is_not_given_again(make):
    world = make(small=lambda call: FakeAnswer("4", fail_after=0) if call.adapter else "6")
    assert await cached(world) == [None, None, None]
    assert "member legal failed" in (await world.accounts())[0].reason


def test_another_ensemble_is_another_cache(make):
    assert make().services.fingerprint.value != make(strategy="best_of_n").services.fingerprint.value


async def test_an_adapter_that_samples_by_default_is_not_cached_as_a_member_either(make):
    world = make()
    world.services.cache.warm_adapters = frozenset({"legal"})
    assert await cached(world) == [None, None, None]


async def test_a_client_that_leaves_is_billed_for_all_members(make):
    world = make()
    world.small.token_s = 0.01
    world.large.first_token_s = 30.0
    asked = asyncio.create_task(world.chat(model="ensemble"))
    while len(world.small.finished) < 2:  # noqa: ASYNC110  the fake has no event
        await asyncio.sleep(0.001)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    while not (accounts := await world.accounts()):  # noqa: ASYNC110  nor has the ledger
        await asyncio.sleep(0.001)
    assert accounts[0].outcome == "cancelled"
    assert {one.outcome for one in accounts[0].attempts} == {"cancelled"}
    assert accounts[0].cost_nusd > 0


async def test_a_new_cascade_keeps_the_ensemble(make):
    world = make()
    world.services.reconfigure(Tunables(cascade=world.services.settings.cascade))
    assert (await world.chat(model="ensemble")).status_code == 200
