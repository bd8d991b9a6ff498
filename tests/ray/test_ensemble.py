"""Ensembles of the real small model and its adapters, over HTTP and Ray: one vote, one mixture, every member billed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from asking import REPLY_S, account, ask, eventually, text_of
from conftest import client, settings_file
from launching import Served, launch

from serve_app import catalogue
from serve_app.config import load

pytestmark = pytest.mark.cluster

MEMBERS = [{"model": "base", "samples": 2, "temperature": 0.8}, {"model": "legal"}, {"model": "medical"}]
CLAUSE = 'What kind of clause is this? "This Agreement shall be governed by the laws of the State of New York."'
LONG = "Write a very long story about a lighthouse keeper, with many chapters."
WEATHER = "Tell me about a good way to spend a rainy afternoon."


@contextmanager
def serving(folder: Path, **ensemble: Any) -> Iterator[Served]:
    """The graph `router` with this ensemble: real models, and no large one."""
    settings = load("demo")
    for name in (settings.specialists.model, settings.router.encoder):
        catalogue.pull(name)
    served = launch("router", settings_file(folder, ensemble=ensemble), folder / "stderr.log")
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def voting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("voting")
    with serving(folder, members=MEMBERS, normalise="first_line", early_stop=False, routes=["legal"]) as served:
        yield served


def members_of(bill: Any) -> list[Any]:
    return [one for one in bill["attempts"] if one["role"] == "member"]


def check_bill(bill: Any, answer: Any) -> None:
    """Every member answered and was billed; the one whose words were given is the client's usage."""
    members = members_of(bill)
    assert [one["adapter"] for one in members] == [None, None, "legal", "medical"]
    assert sorted(one["outcome"] for one in members) == ["accepted", "counted", "counted", "counted"]
    assert all(one["cost_usd"] > 0 and one["usage"]["completion_tokens"] > 0 for one in members)
    assert all(one["adapter_version"] for one in members if one["adapter"])
    assert bill["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in bill["attempts"]))
    given = next(one for one in members if one["outcome"] == "accepted")
    assert given["usage"]["completion_tokens"] == answer.usage.completion_tokens
    assert bill["adapter"] == given["adapter"]
    assert 0.25 <= bill["confidence"] <= 1
    assert bill["reason"].startswith("vote: ")


def test_the_model_ensemble_answers_by_vote_and_bills_every_member(voting: Served) -> None:
    with client(voting) as openai_client:
        answer = ask(openai_client, CLAUSE, model="ensemble", max_tokens=24, seed=1)
        chunks = list(ask(openai_client, CLAUSE, model="ensemble", max_tokens=24, seed=1, stream=True))
    check_bill(account(voting, answer.headrace["query_id"]), answer)
    assert text_of(chunks).strip()
    assert len(members_of(account(voting, chunks[-1].headrace["query_id"]))) == 4


def test_auto_asks_the_ensemble_on_its_route_and_a_specialist_on_others(voting: Served) -> None:
    with client(voting) as openai_client:
        legal = ask(openai_client, CLAUSE, max_tokens=24)
        general = ask(openai_client, WEATHER, max_tokens=24)
    bill = account(voting, legal.headrace["query_id"])
    assert (bill["route"], bill["attempts"][0]["role"]) == ("legal", "router")
    check_bill(bill, legal)
    assert members_of(account(voting, general.headrace["query_id"])) == []


def test_a_client_that_leaves_ends_all_members(voting: Served) -> None:
    with client(voting) as openai_client, pytest.raises(openai.APITimeoutError):
        ask(openai_client.with_options(timeout=2.0), LONG, model="ensemble", max_tokens=1800)
    bill = eventually(lambda: left(voting))
    assert [one["outcome"] for one in members_of(bill)] == ["cancelled"] * 4  # and nobody is asked again
    assert all(one["usage"]["completion_tokens"] < 1800 for one in members_of(bill))


def left(served: Served) -> Any:
    """The account of a query whose client left, once there is one."""
    newest = httpx.get(f"{served.url}/v1/ledger/queries", params={"limit": 5}, timeout=REPLY_S).json()["data"]
    return next((one for one in newest if one["outcome"] == "cancelled"), None)


def test_adapters_weighted_by_the_router_write_one_answer(tmp_path: Path) -> None:
    """However sure the router is, so small a least weight leaves no domain out."""
    with serving(tmp_path, members=[], strategy="soft_routing", least_weight=1e-9) as served:
        with client(served) as openai_client:
            chunks = list(ask(openai_client, CLAUSE, model="ensemble", max_tokens=24, stream=True))
        bill = account(served, chunks[-1].headrace["query_id"])
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1  # not all at the end
    members = members_of(bill)
    assert len(members) > 1
    assert members[0]["adapter"] == "legal"
    assert [one["outcome"] for one in members] == ["accepted", *["counted"] * (len(members) - 1)]
    assert len({one["usage"]["completion_tokens"] for one in members}) == 1
    assert bill["reason"].startswith(f"soft routing of {len(members)} members")
