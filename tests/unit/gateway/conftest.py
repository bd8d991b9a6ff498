"""A whole gateway over scripted engines, asked in process."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from fastapi import FastAPI

from serve_app.config import Settings
from serve_app.core import Answer, Delta, Message, Query, RouteScore, TokenStat, Usage
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.gateway import AdapterBook, Canaries, PrometheusMetrics, RoutingBook, Services, comparison, create_app
from serve_app.ledger import PriceBook, Recorder
from serve_app.patterns import CascadeControl, Configured, DocumentSearch, Node, PatternTable
from tests.unit.gateway.described import check
from tests.unit.memory_documents import MemoryDocuments
from tests.unit.memory_ledger import MemoryLedger
from tests.unit.scripted_retriever import ScriptedRetriever

SETTINGS = {
    "specialists": {"model": "small-model"},
    "fallback": {"model": "large-model"},
    "adapters": {"legal": {"path": "shipped:legal"}},
    "routes": {"adapters": {"legal": "legal"}},
    "cascade": {"threshold": 0.5, "prefix_tokens": 3},
    "canary": {"share": 0},  # no calls behind a test's own
    "prices": {
        "version": "test-1",
        "models": {
            "small-model": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"},
            "large-model": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"},
        },
    },
}


class KeywordRouter:
    """A core.Router: `legal` where the word "contract" occurs."""

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        label = "legal" if any("contract" in message.content for message in conversation) else "general"
        return RouteScore(label, 0.9, {label: 0.9})


@dataclass
class SplitCharacters:
    """An engine whose tokens are single UTF-8 bytes: text lags behind until a character is whole."""

    text: str

    async def generate(self, call: Any) -> AsyncIterator[Delta]:
        data, held = self.text.encode(), b""
        for index, byte in enumerate(data):
            held += bytes([byte])
            text = held.decode(errors="ignore")
            held = b"" if text else held
            finish = "stop" if index == len(data) - 1 else None
            stat = TokenStat(byte, "\ufffd" if byte > 127 else chr(byte), -0.05, 0.2, 3.0)
            yield Delta(text, (stat,), finish, Usage(1, 0, index + 1))

    async def info(self) -> Any:
        return await FakeEngine().info()


@dataclass
class Playback:
    """An engine that gives these deltas to every call."""

    deltas: Sequence[Delta]

    async def generate(self, call: Any) -> AsyncIterator[Delta]:
        for delta in self.deltas:
            yield delta

    async def info(self) -> Any:
        return await FakeEngine().info()


@dataclass
class World:
    """One gateway, its engines, and what it wrote down."""

    small: Any = field(
        default_factory=lambda: FakeEngine(
            {"hard": FakeAnswer("I am not sure about that", logprob=-3.0), "easy": "four words of answer"},
            default="a small answer in seven short words",
            adapters={"legal": "v1"},
        )
    )
    large: FakeEngine = field(default_factory=lambda: FakeEngine(default="the large model says this"))
    overrides: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=lambda: {"specialists": "ok", "fallback": "ok"})
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    book: AdapterBook | None = None
    routing: RoutingBook | None = None
    documents: MemoryDocuments | None = None
    retriever: ScriptedRetriever | None = None

    def __post_init__(self) -> None:
        settings = Settings.model_validate({**SETTINGS, **self.overrides})
        small = Node("specialists", "small-model", self.small, adapters=self.book or Configured(("legal",)))
        large = Node("fallback", "large-model", self.large)
        control = CascadeControl(
            small, large, settings.cascade, comparison, lambda report: self.services.shadowed(report), self
        )
        search = DocumentSearch(self.retriever, settings, has_large=True) if self.retriever else None
        table = PatternTable(
            small, settings.routes, KeywordRouter(), large, control, search=search, ensemble=settings.ensemble
        )
        book = PriceBook(settings.prices, "large-model", ("small-model",))
        self.recorder = Recorder(self.ledger)
        metrics = PrometheusMetrics(control)
        canaries = Canaries(
            settings,
            "g1",
            self.ledger,
            small,
            large,
            control,
            comparison,
            lambda report: self.services.shadowed(report),
        )
        self.services = Services(
            settings,
            table,
            book,
            self.recorder,
            self.ledger,
            self._probe,
            metrics,
            control,
            book=self.book,
            routing=self.routing,
            canaries=canaries if self.book else None,
            documents=self.documents,
        )
        self.app: FastAPI = create_app(self.services)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://gateway", event_hooks={"response": [self._as_described]}
        )

    async def _as_described(self, response: httpx.Response) -> None:
        await response.aread()
        if response.request.url.path != "/v1/ledger/stats":  # the ledger in memory counts queries only
            check(response.request.method, response.request.url.path, response)

    async def may_escalate(self, query: Query) -> bool:
        return await self.services.purse.may_escalate(query)

    async def _probe(self) -> dict[str, str]:
        return self.nodes

    def openai(self, api_key: str = "none") -> openai.AsyncOpenAI:
        """The official client over this app, with no retries."""
        flavour = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
        client = openai.DefaultAsyncHttpxClient(transport=flavour.ASGITransport(self.app))
        return openai.AsyncOpenAI(base_url="http://gateway/v1", api_key=api_key, http_client=client, max_retries=0)

    async def chat(
        self, text: str = "easy", *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> httpx.Response:
        """POST a one-turn conversation."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **extra}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def accounts(self) -> list[Answer]:
        """Everything recorded so far."""
        await self.recorder.flush()
        return list(self.ledger.answers.values())

    async def close(self) -> None:
        self.ledger.broken = False
        await self.recorder.close()
        await self.http.aclose()


@asynccontextmanager
async def open_worlds() -> AsyncIterator[Callable[..., World]]:
    """Builds gateways; closes them in the end."""
    worlds: list[World] = []

    def make(**fields: Any) -> World:
        worlds.append(World(**fields))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()


@pytest_asyncio.fixture
async def make_world() -> AsyncIterator[Callable[..., World]]:
    """Builds gateways."""
    async with open_worlds() as make:
        yield make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A gateway as configured above."""
    return make_world()


@pytest.fixture
def playback() -> type[Playback]:
    return Playback


@pytest.fixture
def world_with_end_token(make_world: Callable[..., World]) -> World:
    """Its small model says "yes" and then its end token, as the local engine reports one."""
    top = (("<|im_end|>", -0.1),)
    yes, end = TokenStat(1, "yes", -0.05, 0.2, 3.0, top), TokenStat(2, "", -0.1, 0.2, 3.0, top)
    return make_world(
        small=Playback([Delta("yes", (yes,), None, Usage(1, 0, 1)), Delta("", (end,), "stop", Usage(1, 0, 2))])
    )


@pytest.fixture
def split_characters() -> type[SplitCharacters]:
    return SplitCharacters


@pytest.fixture
def events() -> Callable[[httpx.Response], list[Any]]:
    """The data of a response's server-sent events: JSON objects, and "[DONE]"."""

    def parse(response: httpx.Response) -> list[Any]:
        blocks = [block.removeprefix("data: ") for block in response.text.split("\n\n") if block]
        return [block if block == "[DONE]" else json.loads(block) for block in blocks]

    return parse


@dataclass
class Client:
    """An ASGI client that can leave."""

    app: FastAPI
    body: dict[str, Any]
    leave_after: int | None = None
    """Leave once that many pieces of the body were received; None: when `leave` is set."""
    path: str = "/v1/chat/completions"
    sent: list[dict[str, Any]] = field(default_factory=list)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    raise_on_send: bool = False
    """Report the disconnect by an OSError from send, and never by a message."""
    _asked: bool = False

    async def run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": json.dumps(self.body).encode(), "more_body": False}
        if self.raise_on_send:
            await asyncio.Event().wait()
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.raise_on_send and self.leave.is_set():
            raise OSError("the client is gone")
        self.sent.append(dict(message))
        num_pieces = sum(one["type"] == "http.response.body" for one in self.sent)
        if self.leave_after is not None and num_pieces >= self.leave_after:
            self.leave.set()


@pytest.fixture
def leaving_client() -> type[Client]:
    return Client
