"""Whatever comes in whatever order: each request ends once, nothing leaks, and a model of the cache agrees.

The scheduler, the cache slots and the adapter slots are the real ones. The cache is a list of token ids per slot, so
that a reused prefix which is not the row's own would show.
"""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serve_app.core import EngineError, Overloaded
from serve_app.engine.admission import PATIENCE, EngineLimits
from serve_app.engine.request import Discard, Ensemble, Request, SampledToken
from serve_app.engine.residency import Residency
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import SlotTable
from tests.properties import examples

ADAPTERS = ("a", "b", "c", "d")
BLOCK = 4
SEVERAL = st.data()

lengths = st.one_of(st.integers(1, 6), st.integers(1, 45))
fields = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(1, 6),
        "key": st.sampled_from([None, "k", "l"]),
        "priority": st.sampled_from([0, 0, 0, 1]),
    }
)


class Machine(RuleBasedStateMachine):
    """The engine's loop without a model, its callers, and the loader of adapters."""

    @initialize(
        max_rows=st.integers(1, 5), spare=st.integers(0, 40), max_waiting=st.integers(0, 8), num=st.integers(1, 3)
    )
    def start(self, max_rows, spare, max_waiting, num):
        self.limits = EngineLimits(max_rows, max_waiting, max_rows + spare, twin_tokens=BLOCK)
        self.slots = SlotTable(max_rows + spare % 3, BLOCK)
        self.loads, self.num_adapter_slots = [], num
        self.residency = Residency(num, lambda slot, version: self.loads.append((slot, version)))
        self.scheduler = Scheduler(self.limits, self.slots, self.residency)
        for adapter in ADAPTERS[:3]:
            self.residency.add(adapter)
        self.cache = [[] for _ in range(max_rows + 3)]
        self.serial, self.now_s = itertools.count(), 0.0
        self.open, self.ended = {}, {}
        self.expected = {}  # ensemble id -> members that are still to come
        self.histories = [(7,) * 50, tuple(range(50))]

    # -- callers

    def request(self, data, values, adapter, ensemble=None, prompt=None):
        history = data.draw(st.sampled_from(self.histories))[: data.draw(lengths)]
        tail = tuple(data.draw(st.lists(st.integers(100, 103), max_size=3)))
        deadline_s = self.now_s + data.draw(st.integers(1, 9)) if data.draw(st.integers(0, 5)) == 0 else None
        prompt = prompt or (*history, *tail)
        return Request(
            f"{next(self.serial)}",
            prompt,
            sink=Discard(),
            adapter=adapter,
            deadline_s=deadline_s,
            ensemble=ensemble,
            **values,
        )

    def add(self, *requests):
        try:
            self.scheduler.add(*requests)
        except Overloaded:
            free = self.limits.max_rows - len(self.scheduler.rows)
            assert self.scheduler.num_waiting + len(requests) > free + self.limits.max_waiting
            return False
        self.open |= {request.request_id: request for request in requests}
        return True

    @rule(data=SEVERAL, values=fields, adapter=st.sampled_from([None, *ADAPTERS]))
    def ask(self, data, values, adapter):
        self.add(self.request(data, values, adapter))

    @rule(data=SEVERAL, values=fields, num_samples=st.integers(2, 4), adapter=st.sampled_from([None, *ADAPTERS]))
    def ask_for_samples(self, data, values, num_samples, adapter):
        first = self.request(data, values, adapter)
        self.add(first, *(self.request(data, values, adapter, prompt=first.prompt_ids) for _ in range(num_samples - 1)))

    @rule(data=SEVERAL, values=fields, at_once=st.booleans())
    def ask_ensemble(self, data, values, at_once):
        # No more adapters than can be resident at the same time: nobody could serve such an ensemble.
        adapters = data.draw(st.permutations(ADAPTERS))[: self.num_adapter_slots]
        chosen = data.draw(st.lists(st.sampled_from([None, *adapters]), min_size=1, max_size=self.limits.max_rows))
        ensemble = Ensemble(f"ensemble-{next(self.serial)}", len(chosen))
        members = [self.request(data, values, adapter, ensemble) for adapter in chosen]
        if at_once:
            self.add(*members)
        elif self.add(members[0]):
            self.expected[ensemble.ensemble_id] = members[1:]

    @precondition(lambda self: self.expected)
    @rule()
    def member_comes(self):
        name, members = self.expected.popitem()
        if not any(request.ensemble and request.ensemble.ensemble_id == name for request in self.open.values()):
            return  # all that came have left again: the caller gave up
        if members and self.add(members[0]):
            members = members[1:]
        if members:
            self.expected = {name: members, **self.expected}

    @rule(data=SEVERAL)
    def cancel(self, data):
        request_id = f"{data.draw(st.integers(0, 60))}"
        assert self.scheduler.cancel(request_id) == (request_id in self.open or request_id in self.cancelled_rows())
        if request_id in self.open:
            self.end(request_id, "cancelled")

    def cancelled_rows(self):
        return {row.request.request_id for row in self.scheduler.rows} - self.open.keys()

    def end(self, request_id, how):
        assert request_id not in self.ended
        del self.open[request_id]
        self.ended[request_id] = how

    # -- adapters

    @rule(adapter=st.sampled_from(ADAPTERS), pinned=st.booleans())
    def add_adapter(self, adapter, pinned):
        room = sum(one.pinned for one in self.residency.snapshot()) + 1 < self.num_adapter_slots
        self.residency.add(adapter)
        self.residency.pin(adapter, pinned and room)

    @rule(adapter=st.sampled_from(ADAPTERS))
    def remove_adapter(self, adapter):
        self.residency.remove(adapter)
        self.slots.drop_adapter(adapter)

    @precondition(lambda self: self.loads)
    @rule(succeeds=st.sampled_from([True, True, True, False]))
    def load_ends(self, succeeds):
        slot, version = self.loads.pop(0)
        if succeeds:
            self.residency.loaded(slot, version)
        else:
            self.residency.failed(slot, version, EngineError("the file is damaged"))

    # -- the loop

    @rule(data=SEVERAL, num_steps=st.integers(1, 4))
    def step(self, data, num_steps):
        for _ in range(num_steps):
            self.run_step(
                fails=data.draw(st.integers(0, 19)) == 19,
                choose=lambda most: data.draw(st.integers(0, most)),
            )

    def run_step(self, fails=False, choose=lambda most: most):
        self.now_s += 1
        for request, _ in self.scheduler.expire(self.now_s):
            self.end(request.request_id, "expired")
        assert all(row.request.deadline_s is None or row.request.deadline_s > self.now_s for row in self.live_rows())
        self.scheduler.drop_cancelled()
        plan = self.scheduler.plan()
        self.check_plan(plan)
        if fails:
            for row in self.scheduler.touched(plan):
                self.cache[row.slot] = [None] * 100
                self.finish(row, "failed", reusable=False)
            return
        for copy in plan.copies:
            self.cache[copy.target] = self.cache[copy.source][: copy.num_tokens]
        for segment in plan.segments:
            row = segment.row
            tag = row.request.adapter
            before = [(tag, token) for token in (*row.request.prompt_ids, *row.output_ids)][: segment.start]
            assert self.cache[row.slot][: segment.start] == before, "the row's slot does not hold the row's tokens"
            self.cache[row.slot] = before + [(tag, token) for token in segment.token_ids]
            row.num_prefilled = min(segment.end, len(row.request.prompt_ids))
        self.account(plan, choose)

    def account(self, plan, choose):
        results = []
        for segment in plan.sampled:
            row = segment.row
            num_accepted = choose(segment.sampled - 1)
            if row.request.ensemble is None and choose(30) == 1:
                results.append(None)
                continue
            ids = (*segment.token_ids[1 : 1 + num_accepted], len(row.output_ids) % 3)
            results.append(tuple(SampledToken(token_id, 0.0, 0.0, 0.0) for token_id in ids))
            row.output_ids += ids
            row.draft_ids = tuple(range(choose(3)))
            assert len(row.output_ids) <= row.request.max_tokens
        self.scheduler.processed(plan, results)
        for segment, result in zip(plan.sampled, results, strict=True):
            row = segment.row
            if result is None:
                self.finish(row, "failed", reusable=False)
            elif len(row.output_ids) == row.request.max_tokens:
                self.histories.append((*row.request.prompt_ids, *row.output_ids)[:60])
                self.finish(row, "finished")

    def finish(self, row, how, reusable=True):
        self.scheduler.release(row, reusable)
        if row.request.request_id in self.open:
            self.end(row.request.request_id, how)

    def check_plan(self, plan):
        rows = self.scheduler.rows
        assert plan.num_tokens <= self.limits.step_tokens
        assert bool(plan.segments) == bool(rows), "where there are rows there is progress"
        assert len({id(segment.row) for segment in plan.segments}) == len(plan.segments)
        adapters = [
            adapter for adapter, _ in itertools.groupby(segment.row.request.adapter for segment in plan.segments)
        ]
        assert len(set(adapters)) == len(adapters), "segments of one adapter are neighbours"
        planned = {segment.row.request.request_id: segment for segment in plan.segments}
        for row in rows:
            segment = planned.get(row.request.request_id)
            if row.prefilling and segment:
                assert segment.start == row.num_prefilled and segment.token_ids
                assert segment.token_ids == row.request.prompt_ids[segment.start : segment.end]
                assert segment.sampled == (segment.end == len(row.request.prompt_ids))
            elif not row.prefilling:
                assert segment and segment.start == row.num_cached, "every decoding row is in every step"
                assert segment.token_ids == (row.output_ids[-1], *row.draft_ids)
                assert segment.sampled == len(segment.token_ids)
        ensembles = {}
        for row in rows:
            if row.request.ensemble:
                sampled = planned[row.request.request_id].sampled if row.request.request_id in planned else 0
                ensembles.setdefault(row.request.ensemble.ensemble_id, set()).add((sampled, len(row.output_ids)))
        assert all(len(states) == 1 for states in ensembles.values()), "members are in lock step"

    # -- after every rule

    def live_rows(self):
        return [row for row in self.scheduler.rows if row.request.request_id in self.open]

    @invariant()
    def books_balance(self):
        self.scheduler.check()
        rows = self.scheduler.rows
        self.residency.check([row.request.adapter for row in rows if row.request.adapter is not None])
        assert len(rows) <= self.limits.max_rows
        assert len(self.open) == self.scheduler.num_waiting + len(self.live_rows()), "no request is lost"

    def teardown(self):
        """Once arrivals stop, everything ends."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(300):
            if not self.expected:
                break
            self.member_comes()
            self.settle()
        self.give_up_on_the_missing()
        for one in self.residency.snapshot():
            if one.pinned:
                self.residency.pin(one.version, False)
        for _ in range(3000):
            if self.scheduler.idle:
                break
            self.settle()
        assert self.scheduler.idle and not self.open
        self.slots.check(())

    def give_up_on_the_missing(self):
        """Callers whose last members found no room, because other incomplete ensembles have all places in the queue."""
        for request in list(self.open.values()):
            if request.ensemble and request.ensemble.ensemble_id in self.expected:
                assert self.scheduler.cancel(request.request_id)
                self.end(request.request_id, "cancelled")
        self.expected.clear()

    def settle(self):
        self.run_step()
        while self.loads:
            self.load_ends(True)
        self.books_balance()


TestScheduler = Machine.TestCase
TestScheduler.settings = settings(max_examples=examples(120), stateful_step_count=40, deadline=None)


class Flood:
    """Adapters that always have requests waiting, and one that comes late with a single short one."""

    def __init__(self, max_rows, num_hot, num_adapter_slots, max_tokens, prompt):
        self.num_hot, self.max_tokens, self.prompt = num_hot, max_tokens, prompt
        self.loads, self.serial = [], itertools.count()
        self.residency = Residency(num_adapter_slots, lambda slot, version: self.loads.append((slot, version)))
        for adapter in ADAPTERS:
            self.residency.add(adapter)
        self.scheduler = Scheduler(EngineLimits(max_rows, 50, 20), SlotTable(max_rows), self.residency)

    def step(self):
        """Names of the rows in the step."""
        while self.scheduler.num_waiting < 20:
            at = next(self.serial)
            ids = tuple(range(at, at + self.prompt))
            self.scheduler.add(Request(f"hot-{at}", ids, self.max_tokens, Discard(), ADAPTERS[at % self.num_hot]))
        plan = self.scheduler.plan()
        names = {row.request.request_id for row in self.scheduler.rows}
        for segment in plan.segments:
            segment.row.num_prefilled = min(segment.end, len(segment.row.request.prompt_ids))
        for segment in plan.sampled:
            segment.row.output_ids.append(0)
        self.scheduler.processed(plan, [(SampledToken(0, 0.0, 0.0, 0.0),)] * len(plan.sampled))
        for segment in plan.sampled:
            if len(segment.row.output_ids) == segment.row.request.max_tokens:
                self.scheduler.release(segment.row)
        while self.loads:
            self.residency.loaded(*self.loads.pop(0))
        return names


@settings(max_examples=examples(60), deadline=None)
@given(
    max_rows=st.integers(1, 6),
    num_hot=st.integers(1, 3),
    num_adapter_slots=st.integers(1, 4),
    max_tokens=st.integers(1, 6),
    prompt=st.integers(1, 60),
)
def test_adapter_with_one_short_request_is_served_while_others_flood(
    max_rows, num_hot, num_adapter_slots, max_tokens, prompt
):
    """Soon if its adapter finds room, else when the patience of the scheduler has made room."""
    flood = Flood(max_rows, num_hot, num_adapter_slots, max_tokens, prompt)
    before = set()
    for _ in range(60):
        before = flood.step()
    flood.scheduler.add(Request("cold", (5, 6), 1, Discard(), ADAPTERS[3]))
    num_admitted = 0
    has_room = num_adapter_slots > num_hot
    most = 2 * max_rows + num_hot + 1 if has_room else (2 * PATIENCE + 4) * max_rows + 10
    while "cold" not in before:
        now = flood.step()
        num_admitted += len(now - before)
        before = now
        assert num_admitted <= most
