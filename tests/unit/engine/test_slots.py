"""Cache slots and prefix reuse, with no model: a list stands for the cache."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve_app.core import EngineError
from serve_app.engine.prefix import PrefixIndex
from serve_app.engine.request import Copy
from serve_app.engine.slots import Lease, PrefixStats, SlotTable
from tests.properties import examples


def answered(table, adapter, prompt, output=()):
    """Take a slot for a row, fill it and retire it; the lease it had."""
    lease = table.take(adapter, prompt)
    table.written(lease.slot, (*prompt[lease.num_reused :], *output))
    table.retire(lease.slot)
    return lease


def ids(start, num):
    return tuple(range(start, start + num))


def test_next_turn_of_a_conversation_is_reused_where_it_lies():
    table = SlotTable(2, block_tokens=4)
    first = answered(table, None, ids(0, 8), output=ids(100, 5))
    assert first == Lease(0, 0, None)
    turn = (*ids(0, 8), *ids(100, 5), 7, 7, 7)
    assert table.take(None, turn) == Lease(0, 13, None)


def test_last_prompt_token_is_never_reused():
    table = SlotTable(2, block_tokens=4)
    answered(table, None, ids(0, 9))
    assert table.take(None, ids(0, 9)).num_reused == 8
    assert SlotTable(1).take(None, (5,)) == Lease(0, 0, None)


def test_common_system_prompt_is_copied_so_that_the_other_conversation_stays():
    table = SlotTable(3, block_tokens=4)
    answered(table, None, ids(0, 8) + ids(100, 20))
    lease = table.take(None, ids(0, 8) + ids(200, 20))
    assert lease == Lease(1, 8, Copy(0, 1, 8))
    assert table.take(None, ids(0, 8) + ids(100, 20) + (1, 2)).num_reused == 28


def test_prompt_of_a_live_row_is_reused_as_far_as_it_is_written():
    table = SlotTable(2, block_tokens=4)
    first = table.take(None, ids(0, 20))
    table.written(first.slot, ids(0, 10))
    assert table.take(None, ids(0, 20)) == Lease(1, 10, Copy(0, 1, 10))


def test_other_adapter_shares_nothing():
    table = SlotTable(4, block_tokens=4)
    answered(table, "legal", ids(0, 12))
    assert table.take(None, ids(0, 12)).num_reused == 0
    assert table.take("medical", ids(0, 12)).num_reused == 0
    assert table.take("legal", ids(0, 12)).num_reused == 11


def test_less_than_a_block_is_not_worth_it():
    table = SlotTable(2, block_tokens=4)
    answered(table, None, ids(0, 3) + ids(100, 9))
    assert table.take(None, ids(0, 3) + ids(200, 9)) == Lease(1, 0, None)


def test_longest_of_several_prefixes_wins_token_by_token():
    table = SlotTable(4, block_tokens=4)
    for num_common in (5, 7, 6):
        answered(table, None, ids(0, num_common) + ids(100 * num_common, 10))
    assert table.take(None, ids(0, 12)) == Lease(3, 7, Copy(1, 3, 7))


def test_empty_slots_go_first_then_the_least_recently_used():
    table = SlotTable(3, block_tokens=4)
    for start in (0, 100, 200):
        answered(table, None, ids(start, 12))
    answered(table, None, ids(0, 13))  # slot 0 is used again
    assert [table.take(None, ids(start, 9)).slot for start in (300, 400, 500)] == [1, 2, 0]
    assert table.take(None, ids(600, 9)) is None


def test_source_of_a_copy_counts_as_used():
    table = SlotTable(3, block_tokens=4)
    for start in (0, 100, 200):
        answered(table, None, ids(start, 20))
    assert table.take(None, ids(100, 5) + ids(300, 5)).copy == Copy(1, 0, 5)
    assert [table.take(None, ids(start, 9)).slot for start in (400, 500)] == [2, 1]


def test_too_short_a_row_leaves_an_empty_slot():
    table = SlotTable(2, block_tokens=4)
    answered(table, None, ids(0, 12))
    answered(table, None, ids(100, 3))
    assert table.num_tokens_held == 12
    assert table.take(None, ids(200, 5)).slot == 1


def test_slot_is_not_offered_any_more_once_taken_for_another_prompt():
    table = SlotTable(1, block_tokens=4)
    answered(table, None, ids(0, 12))
    answered(table, None, ids(100, 12))
    assert table.take(None, ids(0, 12)).num_reused == 0


def test_source_may_be_overwritten_by_a_later_copy_of_the_step():
    table = SlotTable(3, block_tokens=4)
    live = table.take(None, ids(0, 12))
    table.written(live.slot, ids(0, 12))
    answered(table, None, ids(100, 20))
    copies = [table.take(None, prompt).copy for prompt in (ids(100, 5) + ids(300, 5), ids(0, 5) + ids(400, 5))]
    assert copies == [Copy(1, 2, 5), Copy(0, 1, 5)]


def test_last_free_slot_is_reused_in_place_whatever_is_lost():
    table = SlotTable(1, block_tokens=4)
    answered(table, None, ids(0, 40))
    assert table.take(None, (*ids(0, 5), 9, 9)) == Lease(0, 5, None)
    table.retire(0)
    assert table.take(None, ids(0, 40)).num_reused == 5


def test_forgotten_slot_takes_the_retired_ones_that_begin_alike_with_it():
    table = SlotTable(4, block_tokens=4)
    answered(table, None, ids(0, 8) + ids(100, 8))
    answered(table, None, ids(50, 8))
    failed = table.take(None, ids(0, 8) + ids(200, 8))
    assert failed.copy is not None
    table.forget(failed.slot)
    assert table.take(None, ids(50, 12)).num_reused == 8
    assert table.take(None, ids(0, 12)).num_reused == 0


def test_removed_adapter_leaves_nothing_behind():
    table = SlotTable(3, block_tokens=4)
    answered(table, "legal", ids(0, 12))
    answered(table, "medical", ids(100, 12))
    table.drop_adapter("legal")
    assert table.num_tokens_held == 12
    assert table.take("legal", ids(0, 12)).num_reused == 0


def test_stats_count_leases_and_tokens():
    table = SlotTable(3, block_tokens=4)
    answered(table, None, ids(0, 8))
    table.take(None, ids(0, 10))
    table.written(0, (8, 9))
    table.take(None, ids(0, 6))
    assert table.stats == PrefixStats(leases=3, hits=2, prompt_tokens=24, reused_tokens=13, copied_tokens=5)
    assert (table.num_free, table.num_tokens_held) == (1, 15)


def test_books_that_do_not_balance_are_reported():
    table = SlotTable(2)
    table.take(None, (1, 2))
    table.check([0])
    for live in ([], [1], [0, 1], [0, 0]):
        with pytest.raises(EngineError, match="hold the cache slots"):
            table.check(live)
    for misuse in (table.retire, table.forget, lambda slot: table.written(slot, (1,))):
        with pytest.raises(EngineError, match="no row holds cache slot 1"):
            misuse(1)


def test_equal_hashes_of_different_tokens_reuse_nothing(monkeypatch):
    monkeypatch.setattr(PrefixIndex, "_hashes", lambda self, adapter, token_ids, known: iter((1, 2)[len(known) :]))
    table = SlotTable(3, block_tokens=4)
    answered(table, None, ids(0, 8))
    assert table.take(None, ids(100, 9)).num_reused == 0
    assert table.take("legal", ids(0, 9)).num_reused == 0


BLOCK_TOKENS = 2
ADAPTERS = st.sampled_from([None, "legal"])
TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=9).map(tuple)


class Cache(RuleBasedStateMachine):
    """Steps of an engine whose cache holds, at each position, the tokens and the adapter that its content depends on.

    `held` repeats by brute force what may be reused. That it is still in the cache is seen in `cells` alone.
    """

    def __init__(self):
        super().__init__()
        self.table = SlotTable(4, BLOCK_TOKENS)
        self.cells = [[] for _ in range(4)]
        self.held = [(None, ()) for _ in range(4)]
        self.prompts = {}
        self.copies = []

    @rule(adapter=ADAPTERS, prompt=TOKENS, again=st.none() | st.integers(0, 3))
    def admit(self, adapter, prompt, again):
        if again is not None:  # a conversation goes on
            adapter, prompt = self.held[again][0], self.held[again][1] + prompt
        best = max(self.common(slot, adapter, prompt[:-1]) for slot in range(4))
        lease = self.table.take(adapter, prompt)
        if len(self.prompts) == 4:
            assert lease is None
            return
        assert lease.slot not in self.prompts
        assert lease.num_reused == (best if best >= BLOCK_TOKENS else 0)
        if lease.copy is not None:
            self.copies.append(lease.copy)
            assert lease.copy.target == lease.slot != lease.copy.source
            assert lease.copy.num_tokens == lease.num_reused
        self.prompts[lease.slot] = prompt
        self.held[lease.slot] = (adapter, prompt[: lease.num_reused])

    def common(self, slot, adapter, prompt):
        owner, held = self.held[slot]
        if owner != adapter:
            return 0
        return max(num for num in range(min(len(held), len(prompt)) + 1) if held[:num] == prompt[:num])

    @rule(data=st.data())
    def step(self, data):
        for copy in self.copies:
            self.cells[copy.target][: copy.num_tokens] = self.cells[copy.source][: copy.num_tokens]
        self.copies.clear()
        for slot, prompt in self.prompts.items():
            adapter, held = self.held[slot]
            rest = prompt[len(held) :] if len(held) < len(prompt) else data.draw(TOKENS)
            new = rest[: data.draw(st.integers(1, 6))]
            whole = held + new
            del self.cells[slot][len(held) :]
            self.cells[slot] += [(adapter, whole[:end]) for end in range(len(held) + 1, len(whole) + 1)]
            self.cells[slot] += ["a rejected guess"] * data.draw(st.integers(0, 2))
            self.table.written(slot, new)
            self.held[slot] = (adapter, whole)

    @precondition(lambda self: self.prompts and not self.copies)
    @rule(data=st.data())
    def retire(self, data):
        slot = data.draw(st.sampled_from(sorted(self.prompts)))
        del self.prompts[slot]
        self.table.retire(slot)

    @precondition(lambda self: self.prompts and not self.copies)
    @rule(data=st.data())
    def forget(self, data):
        failed = data.draw(st.sampled_from(sorted(self.prompts)))
        del self.prompts[failed]
        adapter, held = self.held[failed]
        for slot in range(4):
            alike = len(held) >= BLOCK_TOKENS and self.common(slot, adapter, held) >= BLOCK_TOKENS
            if slot == failed or (alike and slot not in self.prompts):
                self.held[slot] = (None, ())
        self.table.forget(failed)

    @rule()
    def drop_adapter(self):
        self.table.drop_adapter("legal")
        for slot in range(4):
            if self.held[slot][0] == "legal" and slot not in self.prompts:
                self.held[slot] = (None, ())

    @invariant()
    def what_counts_as_held_is_in_the_cache(self):
        if not self.copies:
            for cells, (adapter, held) in zip(self.cells, self.held, strict=True):
                assert cells[: len(held)] == [(adapter, held[:end]) for end in range(1, len(held) + 1)]

    @invariant()
    def books_balance(self):
        self.table.check(self.prompts.keys())
        assert self.table.num_free == 4 - len(self.prompts)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=examples(150), stateful_step_count=30, deadline=None)
