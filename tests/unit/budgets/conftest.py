"""A clock that is set by hand, an authority over a database in memory, and gateways whose line to it can fail."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from serve_app.budgets import BudgetAuthority, BudgetBook
from serve_app.budgets.tables import metadata as budget_tables
from serve_app.config.budgets import BudgetsSettings, Limit
from serve_app.core import NANO_USD, Answer, Attempt, LedgerError, Outcome, Usage
from serve_app.ledger.accounts import insert_accounts
from serve_app.ledger.tables import metadata as ledger_tables

NOON_S = 1_772_366_400.0
"""1 March 2026, 12:00 UTC."""


@dataclass
class Clock:
    """Seconds since the epoch."""

    now_s: float = NOON_S

    def __call__(self) -> float:
        return self.now_s


class MemoryStore:
    """Stands for `store.Store`: one database in memory, transactions one after the other."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        for tables in (budget_tables, ledger_tables):
            tables.create_all(self._engine)

    async def write(self, work: Callable[[Any], Any]) -> Any:
        await asyncio.sleep(0)  # others run meanwhile
        with self._engine.begin() as connection:
            result = work(connection)
        await asyncio.sleep(0)
        return result

    read = write

    def close(self) -> None:
        self._engine.dispose()


@dataclass
class Line:
    """A gateway's way to the authority."""

    authority: BudgetAuthority
    fault: str | None = None
    """`request`: it does not arrive; `answer`: it is carried out, and its answer is lost."""
    once: bool = False
    """Whether the fault is over with one message."""
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def lease(self, gateway: str, asks: Sequence[Any]) -> Any:
        self.asked.append(tuple(asks))
        fault = self.fault
        if self.once:
            self.fault = None
        if fault == "request":
            raise LedgerError("The ledger is away.")
        grants = await self.authority.lease(gateway, asks)
        if fault == "answer":
            raise LedgerError("The answer was lost.")
        return grants


@dataclass
class Key:
    """What a budget knows of a key."""

    key_id: str
    limits: tuple[Limit, ...] = ()


@dataclass
class World:
    """Gateways over one authority."""

    clock: Clock = field(default_factory=Clock)
    store: MemoryStore = field(default_factory=MemoryStore)
    books: list[BudgetBook] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    num_recorded: int = 0

    def __post_init__(self) -> None:
        self.authority = BudgetAuthority(self.store, self.clock)

    def gateway(self, settings: dict[str, Any] | BudgetsSettings, **more: Any) -> tuple[BudgetBook, Line]:
        """A new one, called g0, g1, …; its background work only runs when it is woken."""
        line = Line(self.authority)
        options = {"clock": self.clock, "tend_s": 3600.0, **more}
        book = BudgetBook(line, BudgetsSettings.model_validate(settings), f"g{len(self.books)}", **options)
        self.books.append(book)
        self.lines.append(line)
        return book, line

    async def record(
        self,
        gateway: str,
        key_id: str | None,
        nusd: int,
        tokens: int,
        at_s: float | None = None,
        outcome: Outcome = "accepted",
    ) -> None:
        """The ledger gets an account."""
        self.num_recorded += 1
        query_id = f"r{self.num_recorded}"
        attempt = Attempt("specialists", "m", None, "accepted", Usage(0, 0, tokens), 1.0, cost_nusd=nusd)
        answer = Answer(
            query_id, self.clock.now_s if at_s is None else at_s, "auto", outcome, (attempt,),
            key_id=key_id, cost_nusd=nusd, gateway=gateway,
        )  # fmt: skip
        await self.store.write(lambda connection: insert_accounts(connection, {query_id: answer}))

    async def close(self) -> None:
        for book in self.books:
            await book.close()
        self.store.close()


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def key() -> type[Key]:
    return Key


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def nano() -> Callable[[int], str]:
    """So many nano-dollars, as settings write dollars."""
    return lambda nusd: f"{nusd / NANO_USD:.9f}"
