"""Whatever happens to several gateways, a budget is passed by what reservations had under-estimated, and by no more."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve_app.budgets.windows import span_at
from serve_app.core import BudgetExceeded, LedgerError
from tests.properties import examples
from tests.unit.budgets.conftest import Key, World

NUM_GATEWAYS = 3
TOTAL_NUSD, KEY_NUSD, KEY_TOKENS = 1000, 600, 900
"""As in the settings below."""
SETTINGS = {
    "total": [{"per": "minute", "usd": "0.000001"}, {"per": "day", "usd": "0.000003"}],
    "each_key": [{"per": "minute", "usd": "0.0000006", "tokens": KEY_TOKENS}],
    "slice_share": 0.15,
    "when_away": "refuse",
}
LIMITS = {"total/minute": (1000, None), "total/day": (3000, None), "key/minute": (KEY_NUSD, KEY_TOKENS)}

gateways = st.integers(0, NUM_GATEWAYS - 1)
names = st.sampled_from(["ada", "bob", None])
amounts = st.integers(1, 400)


@dataclass
class Running:
    """A query, as its client knows it."""

    gateway: int
    name: str | None
    at_s: float
    nusd: int
    tokens: int


class Budgets(RuleBasedStateMachine):
    """Gateways that reserve, settle, escalate, lie idle, lose messages, close and die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.running: dict[str, Running] = {}
        self.num_queries = 0
        self.used: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        self.under: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        self.at = [self._new() for _ in range(NUM_GATEWAYS)]

    def _new(self) -> int:
        self.world.gateway(SETTINGS)
        return len(self.world.books) - 1

    def _do(self, work):
        return self.loop.run_until_complete(work)

    def _meters(self, name: str | None, at_s: float):
        for meter in ("total/minute", "total/day", "key/minute"):
            whose = f"{name}:{meter}" if meter == "key/minute" else meter
            yield whose, span_at(meter.split("/")[1], at_s).start_s

    async def _reserve(self, gateway: int, name: str | None, nusd: int, tokens: int) -> None:
        self.num_queries += 1
        query_id, at_s = f"q{self.num_queries}", self.world.clock.now_s
        key = None if name is None else Key(name)
        try:
            await self.world.books[self.at[gateway]].reserve(query_id, key, nusd, tokens)
        except (BudgetExceeded, LedgerError):
            return
        self.running[query_id] = Running(gateway, name, at_s, nusd, tokens)

    @rule(gateway=gateways, name=names, nusd=amounts, tokens=amounts)
    def reserve(self, gateway, name, nusd, tokens):
        self._do(self._reserve(gateway, name, nusd, tokens))

    @rule(asked=st.lists(st.tuples(gateways, names, amounts, amounts), min_size=2, max_size=8))
    def reserve_at_once(self, asked):
        async def all_of_them():
            await asyncio.gather(*(self._reserve(*one) for one in asked))

        self._do(all_of_them())

    @precondition(lambda self: self.running)
    @rule(data=st.data(), nusd=amounts)
    def escalate(self, data, nusd):
        query_id = data.draw(st.sampled_from(sorted(self.running)))
        query = self.running[query_id]
        if self._do(self.world.books[self.at[query.gateway]].extend(query_id, nusd, 0)):
            query.nusd += nusd

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(), nusd_share=st.sampled_from([0.0, 0.3, 1.0, 1.4]), tokens_share=st.sampled_from([0.2, 1.0, 1.2])
    )
    def settle(self, data, nusd_share, tokens_share):
        query_id = data.draw(st.sampled_from(sorted(self.running)))
        query = self.running.pop(query_id)
        nusd, tokens = int(query.nusd * nusd_share), int(query.tokens * tokens_share)
        self.world.books[self.at[query.gateway]].settle(query_id, nusd, tokens)
        self._do(self.world.record(f"g{self.at[query.gateway]}", query.name, nusd, tokens, at_s=query.at_s))
        for meter in self._meters(query.name, query.at_s):
            self.used[meter][0] += nusd
            self.used[meter][1] += tokens
            self.under[meter][0] += max(0, nusd - query.nusd)
            self.under[meter][1] += max(0, tokens - query.tokens)

    @rule(gateway=gateways, closed=st.booleans())
    def end(self, gateway, closed):
        """A gateway closes when its queries are settled, or dies with those that run."""
        book, line = self.world.books[self.at[gateway]], self.world.lines[self.at[gateway]]
        if closed and any(query.gateway == gateway for query in self.running.values()):
            return
        self.running = {key: query for key, query in self.running.items() if query.gateway != gateway}
        if closed:
            self._do(book.close())
        else:
            line.fault, line.once = "request", False
            self._do(self.world.authority.reclaim(f"g{self.at[gateway]}"))
        self.at[gateway] = self._new()

    @rule(gateway=gateways, fault=st.sampled_from(["request", "answer"]))
    def lose_a_message(self, gateway, fault):
        line = self.world.lines[self.at[gateway]]
        line.fault, line.once = fault, True

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 11.0, 61.0, 13 * 3600.0]))
    def wait(self, seconds):
        self.world.clock.now_s += seconds

    @rule(gateway=gateways)
    def tend(self, gateway):
        self._do(self.world.books[self.at[gateway]].tend())

    @invariant()
    def no_limit_is_passed(self):
        total: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        for meter, (nusd, tokens) in self.used.items():
            total[meter] = [nusd, tokens]
        for query in self.running.values():
            for meter in self._meters(query.name, query.at_s):
                total[meter][0] += query.nusd
                total[meter][1] += query.tokens
        for meter, (nusd, tokens) in total.items():
            limit_nusd, limit_tokens = LIMITS[meter[0].partition(":")[2] or meter[0]]
            assert nusd <= limit_nusd + self.under[meter][0], meter
            assert limit_tokens is None or tokens <= limit_tokens + self.under[meter][1], meter

    def teardown(self):
        self._do(self.world.close())
        self.loop.close()


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
@settings(max_examples=examples(20), deadline=None)
@given(needs=st.lists(st.integers(1, 500), max_size=20))
def test_a_single_gateway_admits_exactly_what_fits(share, needs):
    async def ask_all() -> None:
        world = World()
        book, _ = world.gateway({"total": SETTINGS["total"][:1], "slice_share": share})
        used = 0
        for index, need in enumerate(needs):
            fits = used + need <= TOTAL_NUSD
            try:
                await book.reserve(f"q{index}", None, need, 0)
            except BudgetExceeded:
                assert not fits
            else:
                assert fits
                used += need
        await world.close()

    asyncio.run(ask_all())
