"""The policy and its books, with no model; every adapter is resident unless a test says otherwise."""

from collections import Counter
from zlib import crc32

import pytest

from serve_app.core import AdapterError, ConfigError, DeadlineExceeded, EngineError, Overloaded
from serve_app.engine.admission import PATIENCE, EngineLimits
from serve_app.engine.request import Discard, Ensemble, Request, SampledToken
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import SlotTable


class Desk:
    """An AdapterDesk on which everything is resident but what a test takes away."""

    def __init__(self):
        self.absent = set()
        self.without_room = set()
        """Resident as soon as nothing is held."""
        self.errors = {}
        self.held = Counter()

    def ready(self, version):
        if not self.held.total():
            self.without_room.clear()
        return version not in self.absent | self.without_room

    def hold(self, version):
        self.held[version] += 1
        return ord(version[0])

    def release(self, version):
        self.held[version] -= 1

    def error(self, version):
        return self.errors.get(version)


class Bench:
    """A scheduler and what the loop does with it, minus the model."""

    def __init__(self, max_rows=4, max_waiting=99, step_tokens=64):
        self.desk = Desk()
        self.slots = SlotTable(max_rows)
        self.scheduler = Scheduler(EngineLimits(max_rows, max_waiting, step_tokens), self.slots, self.desk)

    def ask(self, name, adapter=None, prompt=3, max_tokens=4, **fields):
        """Prompts that are no twins, unless `prompt` holds the tokens themselves."""
        ids = tuple(crc32(name.encode()) + at for at in range(prompt)) if isinstance(prompt, int) else prompt
        request = Request(name, ids, max_tokens, Discard(), adapter, **fields)
        self.scheduler.add(request)
        return request

    def step(self, num_accepted=0):
        """One step; its segments by request: (start, tokens, sampled)."""
        self.scheduler.drop_cancelled()
        plan = self.scheduler.plan()
        results = []
        for segment in plan.segments:
            if segment.start < len(segment.row.request.prompt_ids):
                segment.row.num_prefilled = segment.end
        for segment in plan.sampled:
            tokens = tuple(SampledToken(7, 0.0, 0.0, 0.0) for _ in range(1 + min(num_accepted, segment.sampled - 1)))
            segment.row.output_ids += [token.token_id for token in tokens]
            segment.row.draft_ids = ()
            results.append(tokens)
        self.scheduler.processed(plan, results)
        for segment in plan.sampled:
            if len(segment.row.output_ids) >= segment.row.request.max_tokens:
                self.scheduler.release(segment.row)
        self.scheduler.check()
        self.plan = plan
        return {s.row.request.request_id: (s.start, len(s.token_ids), s.sampled) for s in plan.segments}

    @property
    def names(self):
        return [row.request.request_id for row in self.scheduler.rows]

    def row(self, name):
        return next(row for row in self.scheduler.rows if row.request.request_id == name)


def test_queue_full_raises_overloaded_only_when_the_rows_are_spoken_for():
    bench = Bench(max_rows=2, max_waiting=1)
    for name in "abc":
        bench.ask(name)
    with pytest.raises(Overloaded, match="all 2 rows are busy and 1 requests wait"):
        bench.ask("d")
    bench.step()
    with pytest.raises(Overloaded):
        bench.ask("d")
    bench.scheduler.cancel("c")
    bench.ask("d")


@pytest.mark.parametrize("max_tokens", [1, 9], ids=["finished", "cancelled"])
def test_overloaded_says_how_often_a_row_becomes_free(max_tokens):
    bench = Bench(max_rows=1, max_waiting=0)
    for now_s in (10, 13, 16.5):
        bench.scheduler.expire(now_s)
        bench.ask(f"{now_s}", max_tokens=max_tokens)
        bench.step()
        bench.scheduler.cancel(f"{now_s}")
        bench.scheduler.drop_cancelled()
    bench.ask("a")
    with pytest.raises(Overloaded) as error:
        bench.ask("b")
    assert error.value.retry_after_s == 4


def test_requests_added_in_one_call_are_queued_all_or_none():
    bench = Bench(max_rows=2, max_waiting=0)
    one, two = (Request(name, (1,), 1, Discard()) for name in "ab")
    with pytest.raises(EngineError, match="already being answered"):
        bench.scheduler.add(one, one)
    with pytest.raises(Overloaded):
        bench.scheduler.add(one, two, two)
    assert bench.scheduler.idle
    bench.scheduler.add(one, two)
    bench.scheduler.check()


@pytest.mark.parametrize("limits", [(0, 1, 9), (1, -1, 9), (4, 1, 3)])
def test_limits_under_which_a_step_could_not_serve_every_row_are_refused(limits):
    with pytest.raises(ConfigError):
        EngineLimits(*limits)


def test_fewer_cache_slots_than_rows_are_refused():
    with pytest.raises(ConfigError, match="cache slots"):
        Scheduler(EngineLimits(4, 0, 8), SlotTable(3), Desk())


def test_long_prompt_is_cut_and_the_others_keep_decoding():
    bench = Bench(step_tokens=11)
    bench.ask("short", max_tokens=9)
    bench.step()
    bench.ask("long", prompt=25)
    assert bench.step() == {"short": (3, 1, 1), "long": (0, 10, 0)}
    assert bench.step() == {"short": (4, 1, 1), "long": (10, 10, 0)}
    assert bench.step() == {"short": (5, 1, 1), "long": (20, 5, 1)}
    assert bench.step() == {"short": (6, 1, 1), "long": (25, 1, 1)}


def test_newcomers_short_prompt_does_not_wait_behind_a_long_one():
    bench = Bench(step_tokens=10)
    bench.ask("long", "hot", prompt=60)
    bench.step()
    bench.ask("short", "new", prompt=4)
    assert bench.step() == {"long": (10, 6, 0), "short": (0, 4, 1)}


def test_segments_of_one_adapter_are_neighbours():
    bench = Bench(max_rows=6)
    for name, adapter in (("1", "b"), ("2", None), ("3", "a"), ("4", "b"), ("5", None), ("6", "a")):
        bench.ask(name, adapter)
    bench.step()
    adapters = [segment.row.request.adapter for segment in bench.plan.segments]
    assert sorted(adapters, key=lambda adapter: adapter or "") == adapters == [None, None, "a", "a", "b", "b"]


def test_drafts_are_taken_along_where_the_step_and_the_answer_have_room():
    bench = Bench(max_rows=3, step_tokens=8)
    for name in ("1", "2", "3"):
        bench.ask(name, prompt=1, max_tokens=6)
    bench.step()
    for row in bench.scheduler.rows:
        row.draft_ids = (7, 7, 8)
    assert bench.step(num_accepted=2) == {"1": (1, 4, 4), "2": (1, 3, 3), "3": (1, 1, 1)}
    assert bench.slots.num_tokens_held == (1 + 3) + (1 + 3) + (1 + 1)
    bench.row("1").draft_ids = (7, 7)  # two more tokens would complete the answer, three are too many
    assert bench.step()["1"] == (4, 2, 2)


def test_prompts_go_before_drafts():
    bench = Bench(step_tokens=8)
    bench.ask("1", max_tokens=9)
    bench.step()
    bench.row("1").draft_ids = (7, 7)
    bench.ask("2", prompt=6)
    assert bench.step() == {"1": (3, 2, 2), "2": (0, 6, 1)}, "one of the two guesses fits beside the prompt"


def test_identical_prompts_share_one_prefill():
    bench = Bench(max_rows=8, step_tokens=40)
    prompt = tuple(range(60))
    for at in range(3):
        bench.ask(f"{at}", "a", prompt)
    bench.ask("other", "b", prompt)
    bench.step()
    assert bench.names == ["0", "other"]
    bench.step()
    bench.step()
    bench.step()
    assert bench.row("1").num_reused == bench.row("2").num_reused == 59
    assert bench.row("other").num_reused == 0


def test_reused_tokens_are_not_charged():
    bench = Bench()
    prompt = tuple(range(40))
    charged = []
    for name in "ab":
        request = bench.ask(name, "x", prompt, max_tokens=9)
        before, _ = bench.scheduler._waiting.served(request)
        bench.step()
        charged.append(bench.scheduler._waiting.served(request)[0] - before)
    assert charged == [40 + 2, 1 + 2 + 2], "the second prompt's last token, and an output token of either"


def test_last_free_row_is_kept_from_a_flood_while_other_adapters_are_in_use():
    bench = Bench(max_rows=4)
    for at in range(6):
        bench.ask(f"hot-{at}", "h", max_tokens=99)
    bench.step()
    assert len(bench.names) == 4, "with one adapter all rows may be taken"

    bench = Bench(max_rows=4)
    bench.ask("old", "c", max_tokens=1)
    bench.step()
    for at in range(6):
        bench.ask(f"hot-{at}", "h", max_tokens=99)
    bench.step()
    assert bench.names == ["hot-0", "hot-1", "hot-2"]
    bench.ask("new", "c")
    bench.step()
    assert bench.names[-1] == "new"


def test_request_whose_adapter_is_not_resident_is_passed_over():
    bench = Bench()
    bench.desk.absent.add("b")
    bench.ask("waits", "b")
    for at in range(99 - 1):
        bench.ask(f"{at}", "a", max_tokens=2 + at % 3)
    while bench.scheduler.num_waiting > 1:
        assert bench.step(), "as it is not room that is missing, the others go on"
    bench.desk.absent.clear()
    bench.step()
    bench.step()
    assert "waits" in bench.names


def test_adapter_without_room_is_passed_over_only_so_often_then_the_others_are_held_back():
    bench = Bench()
    bench.desk.held["a"] = 0
    for at in range(98):
        bench.ask(f"{at}", "a", max_tokens=2 + at % 3)
    bench.step()
    bench.desk.without_room.add("b")
    bench.ask("waits", "b")
    for _ in range(200):
        bench.step()
        if "waits" in bench.names:
            break
    assert "waits" in bench.names
    assert 98 - bench.scheduler.num_waiting <= (PATIENCE + 2) * 4


def test_bare_base_goes_on_while_adapters_are_held_back():
    bench = Bench(max_rows=2)
    bench.desk.absent.add("b")
    bench.ask("waits", "b")
    for at in range(40):
        bench.ask(f"{at}", None, max_tokens=1)
    while bench.step():
        pass
    assert bench.scheduler.num_waiting == 1


def test_adapter_that_cannot_be_served_fails_what_waits_for_it():
    bench = Bench()
    bench.ask("1", "a")
    bench.step()
    bench.ask("2", "a")
    bench.desk.errors["a"] = AdapterError("removed")
    assert [(request.request_id, str(error)) for request, error in bench.scheduler.expire(0)] == [("2", "removed")]
    assert bench.names == ["1"], "a row that has its adapter goes on"


def test_deadline_ends_waiting_requests_and_rows():
    bench = Bench(max_rows=1)
    bench.ask("row", "a", deadline_s=5.0)
    bench.ask("waits", "a", deadline_s=5.0)
    bench.ask("later", "a", deadline_s=6.0)
    bench.step()
    assert bench.scheduler.expire(4.9) == []
    expired = bench.scheduler.expire(5.0)
    assert [request.request_id for request, _ in expired] == ["row", "waits"]
    assert all(isinstance(error, DeadlineExceeded) for _, error in expired)
    assert bench.desk.held["a"] == 0 and bench.slots.num_free == 1
    bench.step()
    assert bench.names == ["later"]


def test_cancelled_row_is_freed_before_the_next_step_and_fails_only_once():
    bench = Bench(max_rows=1)
    bench.ask("a", deadline_s=1.0)
    bench.ask("b")
    bench.step()
    assert bench.scheduler.cancel("a") and bench.scheduler.expire(2.0) == []
    bench.step()
    assert bench.names == ["b"]
    bench.ask("c")
    assert bench.scheduler.cancel("c") and not bench.scheduler.cancel("c") and not bench.scheduler.cancel("never")


def test_failed_row_leaves_nothing_to_reuse():
    bench = Bench()
    prompt = tuple(range(40))
    bench.ask("a", prompt=prompt)
    bench.step()
    bench.scheduler.release(bench.row("a"), reusable=False)
    bench.ask("b", prompt=prompt)
    bench.step()
    assert bench.row("b").num_reused == 0
    with pytest.raises(EngineError, match="holds no row"):
        bench.scheduler.release(bench.plan.segments[0].row)
        bench.scheduler.release(bench.plan.segments[0].row)


def test_failed_plan_names_rows_it_copies_to_besides_those_it_computes():
    bench = Bench(max_rows=3, step_tokens=20)
    prompt = tuple(range(20))
    bench.ask("source", prompt=prompt, max_tokens=9)
    bench.step()
    bench.ask("long", "a", prompt=90)
    bench.step()
    bench.ask("copy", prompt=(*prompt, *range(500, 570)))
    plan = bench.scheduler.plan()
    assert [copy.num_tokens for copy in plan.copies] == [20]
    assert bench.row("copy") not in [segment.row for segment in plan.segments]
    assert bench.row("copy") in bench.scheduler.touched(plan)


def ensemble(bench, *names, prompts, size=None, max_tokens=4):
    for name, prompt in zip(names, prompts, strict=True):
        bench.ask(name, name[0], prompt, max_tokens, ensemble=Ensemble("e", size or len(names)))


def test_ensemble_waits_for_all_members_and_for_rows_for_all():
    bench = Bench(max_rows=3)
    bench.ask("busy", prompt=1, max_tokens=3)
    ensemble(bench, "a", "b", prompts=(3, 3), size=3)
    bench.step()
    assert bench.names == ["busy"]
    bench.ask("single", max_tokens=9)
    ensemble(bench, "c", prompts=(3,), size=3)
    bench.step()
    bench.step()
    assert bench.names == [], "nobody behind the ensemble gets a row while it waits for rows"
    bench.step()
    assert bench.names == ["a", "b", "c"]


def test_ensemble_members_get_their_last_prompt_tokens_and_decode_together():
    bench = Bench(step_tokens=12)
    ensemble(bench, "a", "b", prompts=(30, 4), max_tokens=2)
    sampled = []
    while not bench.scheduler.idle:
        segments = bench.step()
        assert sum(num_tokens for _, num_tokens, _ in segments.values()) <= 12
        sampled.append({name for name, (_, _, num) in segments.items() if num})
        for row in bench.scheduler.rows:
            row.draft_ids = (7,)
    assert sampled == [set(), set(), {"a", "b"}, {"a", "b"}]


def test_ensemble_goes_on_without_a_member_that_was_cancelled():
    bench = Bench(step_tokens=12)
    ensemble(bench, "a", "b", "c", prompts=(3, 3, 50))
    bench.scheduler.cancel("a")
    bench.step()
    assert bench.names == ["b", "c"]
    bench.scheduler.cancel("c")
    assert bench.step()["b"][2] == 1


def test_ensemble_that_does_not_fit_is_refused():
    bench = Bench(max_rows=2)
    with pytest.raises(EngineError, match="does not fit into 2 rows"):
        ensemble(bench, "a", "b", "c", prompts=(1, 1, 1))
    ensemble(bench, "a", "b", prompts=(1, 1))
    with pytest.raises(EngineError, match="has 2 of 2 members"):
        ensemble(bench, "c", prompts=(1,), size=2)
    bench.step()
    with pytest.raises(EngineError, match="already being answered"):
        ensemble(bench, "c", prompts=(1,), size=2)
    bench.scheduler.check()
