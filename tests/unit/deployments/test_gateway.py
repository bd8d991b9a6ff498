"""The gateway's shim: tunables, probe, drain. HTTP has its own tests."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from serve_app.confidence.policy import write
from serve_app.config import load
from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError, LedgerError, RetrieverError
from serve_app.deployments.gateway import GatewayServer
from serve_app.engines.fake import FakeEngine
from serve_app.keys import KeptKeys, Key, KeyRecord, KeySnapshot, digest_of
from tests.unit.confidence.synthetic import policy, route_policy
from tests.unit.memory_documents import MemoryDocuments
from tests.unit.memory_ledger import MemoryLedger

SETTINGS = load("demo")


class SilentLedger(MemoryLedger):
    async def query(self, query_id: str) -> dict[str, Any] | None:
        raise LedgerError("the database is away")


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start does not wait two seconds for the registry, which is not there."""
    monkeypatch.setattr("serve_app.deployments.gateway._REGISTRY_WITHIN_S", 0.02)


@pytest.fixture
def server(plain_handle: Any, tmp_path: Path) -> Callable[..., GatewayServer]:
    """Builds a gateway over scripted engines."""

    def build(ledger: MemoryLedger, large: FakeEngine | None = None, **engine: Any) -> GatewayServer:
        specialists = plain_handle(FakeEngine(adapters=dict.fromkeys(SETTINGS.adapters, "v1"), **engine))
        fallback = plain_handle(large or FakeEngine())
        return GatewayServer(SETTINGS, str(tmp_path / "journals"), specialists, plain_handle(ledger), fallback=fallback)

    return build


def client(gateway: GatewayServer) -> httpx.AsyncClient:
    app = gateway.__serve_build_asgi_app__()
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def ask(http: httpx.AsyncClient) -> Any:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    return (await http.post("/v1/chat/completions", json=body)).json()["headrace"]


async def test_new_tunables_are_in_force_for_the_next_query(server: Callable[..., GatewayServer]) -> None:
    gateway = server(MemoryLedger())
    async with client(gateway) as http:
        assert not (await ask(http))["escalated"]
        await gateway.reconfigure({"cascade": {"threshold": 0.99}})
        assert (await ask(http))["escalated"]


async def test_a_replica_does_not_start_with_a_bad_user_config(server: Callable[..., GatewayServer]) -> None:
    with pytest.raises(ConfigError, match=r"user_config: `cascade.threshold`.*got 3"):
        await server(MemoryLedger()).reconfigure({"cascade": {"threshold": 3}})
    with pytest.raises(ConfigError, match=r"unknown key `treshold`"):
        await server(MemoryLedger()).reconfigure({"treshold": 3})


async def test_a_running_replica_refuses_a_bad_user_config_and_serves_on(
    server: Callable[..., GatewayServer], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = server(MemoryLedger())
    await gateway.reconfigure({"cascade": {"threshold": 0.5}})
    await gateway.reconfigure({"cascade": {"threshold": 3}})
    assert "`cascade.threshold`" in caplog.text
    async with client(gateway) as http:
        assert not (await ask(http))["escalated"]


async def test_a_relative_policy_is_refused_by_its_key(
    server: Callable[..., GatewayServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A replica would look for it in a folder of its own, or find another file there."""
    with pytest.raises(ConfigError, match=r"cascade\.policy is 'policy\.json'.*absolute path"):
        await server(MemoryLedger()).reconfigure({"cascade": {"policy": "policy.json"}})
    gateway = server(MemoryLedger())
    await gateway.reconfigure({})
    await gateway.reconfigure({"cascade": {"policy": "policy.json"}})
    assert "cascade.policy is 'policy.json'" in caplog.text


async def test_readyz_says_that_the_ledger_is_away_and_queries_are_answered(
    server: Callable[..., GatewayServer],
) -> None:
    async with client(server(SilentLedger())) as http:
        response = await http.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (httpx.codes.OK, "degraded")
    assert response.json()["nodes"] == {"specialists": "ok", "fallback": "ok", "ledger": "the database is away"}


async def test_a_graph_with_a_retriever_answers_from_documents_and_without_it_when_it_is_away(
    plain_handle: Any, tmp_path: Path
) -> None:
    class Documents(MemoryDocuments):
        async def alive(self) -> None:
            self._check()

    documents, journals = Documents(), str(tmp_path / "journals")
    specialists = plain_handle(FakeEngine(adapters=dict.fromkeys(SETTINGS.adapters, "v1")))
    gateway = GatewayServer(
        SETTINGS, journals, specialists, plain_handle(MemoryLedger()), retriever=plain_handle(documents)
    )
    question = {"model": "rag", "messages": [{"role": "user", "content": "the pump needs oil"}]}
    async with client(gateway) as http:
        sent = {"documents": [{"id": "manual", "text": "the pump needs oil"}]}
        assert (await http.post("/v1/rag/documents", json=sent)).status_code == httpx.codes.OK
        answer = (await http.post("/v1/chat/completions", json=question)).json()["headrace"]
        assert [cited["document"] for cited in answer["citations"]] == ["manual"]
        documents.broken = RetrieverError("the store is away")
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (httpx.codes.OK, "degraded")
        assert ready.json()["nodes"]["retriever"] == "the store is away"
        answer = (await http.post("/v1/chat/completions", json=question)).json()["headrace"]
        assert answer["outcome"] == "accepted" and "the store is away" in answer["reason"]


async def test_a_gateway_that_starts_while_the_ledger_is_away_takes_the_keys_that_the_node_remembers(
    server: Callable[..., GatewayServer], tmp_path: Path
) -> None:
    class Away(MemoryLedger):
        async def keys(self) -> KeySnapshot:
            raise LedgerError("the ledger is being replaced")

    bob = KeyRecord(Key("bob", "admin"), digest_of(b"stored-bob"), 0.0)
    KeptKeys(tmp_path / "journals" / "keys.json", 3600).save(KeySnapshot((bob,)))
    gateway = server(Away())
    await gateway.reconfigure({})
    async with client(gateway) as http:
        assert (await http.get("/v1/models")).status_code == httpx.codes.UNAUTHORIZED
        http.headers["authorization"] = "Bearer stored-bob"
        assert (await http.get("/v1/models")).status_code == httpx.codes.OK
        ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (httpx.codes.OK, "degraded")
    assert ready.json()["keys"]["state"] == "copy"
    await gateway.close()


async def test_drain_waits_for_queries_in_flight_and_hands_their_accounts_over(
    server: Callable[..., GatewayServer],
) -> None:
    ledger = MemoryLedger()
    gateway = server(ledger, first_token_s=0.1)
    async with client(gateway) as http:
        query = asyncio.create_task(ask(http))
        await asyncio.sleep(0.05)
        await gateway.drain()
        assert [answer.outcome for answer in ledger.answers.values()] == ["accepted"]
        await query


@pytest.mark.parametrize("end", ["drain", "close"])
async def test_the_end_gives_up_audits_under_way_and_hands_their_accounts_over(
    server: Callable[..., GatewayServer], tmp_path: Path, end: str
) -> None:
    write(policy(route_policy(route=None, adapter_version=None)), tmp_path / "policy.json")
    cascade = {"policy": str(tmp_path / "policy.json"), "watch": {"audit_share": 1.0}}
    ledger, large = MemoryLedger(), FakeEngine(first_token_s=3600)
    gateway = server(ledger, large)
    await gateway.reconfigure({"cascade": cascade})
    async with client(gateway) as http:
        query = await ask(http)
        async with asyncio.timeout(10):
            while not large.calls:  # noqa: ASYNC110 - the list has no event
                await asyncio.sleep(0)
        await getattr(gateway, end)()
    accounts = {answer.query_id: answer for answer in ledger.answers.values()}
    assert accounts[query["query_id"]].outcome == "accepted"
    audit = accounts[f"{query['query_id']}-audit"]
    assert (audit.outcome, [attempt.outcome for attempt in audit.attempts]) == ("shadow", ["cancelled"])


async def test_a_price_version_that_comes_while_the_ledger_is_away_is_kept_later(
    server: Callable[..., GatewayServer],
) -> None:
    class Forgetful(MemoryLedger):
        kept: ClassVar[list[str]] = []
        away = True

        async def keep_prices(self, prices: PricesSettings) -> None:
            if self.away:
                raise LedgerError("the database is away")
            self.kept.append(prices.version)

    ledger = Forgetful()
    gateway = server(ledger)
    await gateway.reconfigure({})
    prices = SETTINGS.prices.model_copy(update={"version": "demo-9"})
    await gateway.reconfigure({"prices": prices.model_dump(mode="json")})
    assert ledger.kept == []
    ledger.away = False
    await gateway._keep_prices()
    await gateway._keep_prices()
    assert ledger.kept == ["demo-9"]
    await gateway.close()
