"""Which adapter lies where, with a loader that answers when the test says so."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve_app.core import AdapterError, EngineError, ModelNotFound
from serve_app.engine.residency import GRACE, Residency
from tests.properties import examples


class Loads(list):
    """Requested loads: (slot, version). `finish` answers the oldest."""

    def request(self, slot, version):
        self.append((slot, version))

    def finish(self, residency, error=None):
        slot, version = self.pop(0)
        if error is None:
            residency.loaded(slot, version)
        else:
            residency.failed(slot, version, error)


def desk(num_slots, *versions):
    """A residency that knows these versions, and its loads."""
    loads = Loads()
    residency = Residency(num_slots, loads.request)
    for version in versions:
        residency.add(version)
    return residency, loads


def use(residency, loads, version):
    """Load a version and let one row come and go."""
    if not residency.ready(version):
        loads.finish(residency)
    residency.hold(version)
    residency.release(version)


def test_adapter_is_loaded_once_and_then_ready():
    residency, loads = desk(2, "legal")
    assert not residency.ready("legal") and not residency.ready("legal")
    assert loads == [(0, "legal")] and residency.resident() == {}
    loads.finish(residency)
    assert residency.ready("legal")
    assert residency.hold("legal") == 0
    assert residency.num_loads == 1
    assert residency.resident() == {"legal": 0}
    residency.check(["legal"])


def test_load_that_is_answered_at_once_makes_it_ready_at_once():
    residency = Residency(2, lambda slot, version: residency.loaded(slot, version))
    residency.add("a")
    assert residency.ready("a")
    residency.add("b")
    residency.pin("b", True)
    residency.add("c")
    residency.pin("c", True)
    assert residency.resident() == {"b": 1, "c": 0}


def test_least_recently_used_adapter_gives_way():
    residency, loads = desk(3, *"abcde")
    for version in "abca":
        use(residency, loads, version)
    use(residency, loads, "d")
    assert residency.resident() == {"a": 0, "d": 1, "c": 2}
    use(residency, loads, "e")
    assert residency.resident() == {"a": 0, "d": 1, "e": 2}


def test_held_adapter_stays_and_the_other_waits_for_its_last_row():
    residency, loads = desk(1, "a", "b")
    use(residency, loads, "a")
    residency.hold("a")
    residency.hold("a")
    residency.release("a")
    assert not residency.ready("b") and not loads and residency.error("b") is None
    residency.release("a")
    assert not residency.ready("b") and loads == [(0, "b")]
    assert residency.resident() == {}


def test_pinned_adapter_is_loaded_unasked_and_stays():
    residency, loads = desk(2, "a", "b", "c")
    residency.pin("a", True)
    assert loads == [(0, "a")]
    loads.finish(residency)
    for version in "bcb":
        use(residency, loads, version)
    assert residency.resident() == {"a": 0, "b": 1}
    residency.pin("a", False)
    use(residency, loads, "c")
    assert residency.resident() == {"c": 0, "b": 1}


def test_pinned_adapter_takes_the_first_room_there_is():
    residency, loads = desk(1, "a")
    residency.ready("a")
    loads.finish(residency)
    residency.hold("a")
    residency.add("b")
    residency.pin("b", True)
    assert not loads
    residency.release("a")
    assert loads == [(0, "b")]


def test_more_pins_than_slots_are_refused_and_nobody_waits_in_vain():
    residency, loads = desk(1, "a", "b")
    use(residency, loads, "a")
    assert residency.error("b") is None
    residency.pin("a", True)
    with pytest.raises(AdapterError, match="cannot be pinned"):
        residency.pin("b", True)
    assert not residency.ready("b")
    assert "unpin one" in str(residency.error("b")) and residency.error("a") is None
    assert [one.version for one in residency.snapshot()] == ["a", "b"]


def test_engine_without_slots_says_so():
    residency, _ = desk(0, "a")
    assert not residency.ready("a")
    assert isinstance(residency.error("a"), AdapterError)


def test_removed_adapter_takes_no_new_rows_and_frees_its_slot_with_the_last():
    residency, loads = desk(1, "a", "b")
    use(residency, loads, "a")
    residency.hold("a")
    residency.remove("a")
    assert not residency.ready("a") and residency.resident() == {}
    assert isinstance(residency.error("a"), ModelNotFound)
    with pytest.raises(EngineError, match="before it was loaded"):
        residency.hold("a")
    with pytest.raises(ModelNotFound):
        residency.pin("a", True)
    assert not residency.ready("b") and not loads
    residency.release("a")
    assert [one.version for one in residency.snapshot()] == ["b"]
    assert not residency.ready("b") and loads == [(0, "b")]


def test_adapter_removed_while_it_loads_is_gone_when_the_load_ends():
    residency, loads = desk(1, "a", "b")
    residency.ready("a")
    residency.remove("a")
    assert not residency.ready("b") and loads == [(0, "a")]
    loads.finish(residency)
    assert [one.version for one in residency.snapshot()] == ["b"]
    residency.ready("b")
    assert loads == [(0, "b")]
    residency.remove("b")
    residency.add("b")
    loads.finish(residency)
    assert residency.ready("b")
    residency.remove("nobody knows it")


def test_failed_load_reports_its_error_until_the_version_is_added_again():
    residency, loads = desk(1, "a", "b")
    residency.ready("a")
    error = AdapterError("adapter a: the file is damaged")
    loads.finish(residency, error)
    assert not residency.ready("a") and not loads
    assert residency.error("a") is error
    use(residency, loads, "b")
    residency.add("a")
    assert residency.error("a") is None
    assert not residency.ready("a")
    loads.finish(residency)
    assert residency.ready("a")


def test_failed_pinned_adapter_keeps_no_slot_from_others():
    residency, loads = desk(1, "a")
    residency.add("b")
    residency.pin("b", True)
    loads.finish(residency, AdapterError("adapter b: the file is damaged"))
    assert residency.error("a") is None
    residency.pin("a", True)
    assert loads == [(0, "a")]


def one_busy_slot_and_one_that_two_wait_for():
    """a has a row, b is loaded for a request that has not had its row, c finds no room."""
    residency, loads = desk(2, "a", "b", "c")
    use(residency, loads, "a")
    residency.hold("a")
    residency.ready("b")
    loads.finish(residency)
    assert not residency.ready("c") and not loads
    return residency, loads


def test_adapters_that_wait_for_one_slot_do_not_evict_each_other_in_turn():
    residency, loads = one_busy_slot_and_one_that_two_wait_for()
    residency.hold("b")
    residency.release("b")
    residency.ready("c")
    assert loads == [(1, "c")]


def test_adapter_whose_request_was_cancelled_gives_way_in_the_end():
    residency, loads = one_busy_slot_and_one_that_two_wait_for()
    for _ in range(GRACE - 1):
        assert not residency.ready("c") and not loads
    residency.ready("c")
    assert loads == [(1, "c")]


def test_nobody_is_spared_when_no_row_will_make_room():
    residency, loads = desk(1, "a", "b")
    residency.ready("a")
    loads.finish(residency)
    residency.ready("b")
    assert loads == [(0, "b")]


def test_adapter_that_was_asked_for_last_is_not_evicted_for_another_of_its_ensemble():
    residency, loads = desk(2, "a", "b", "c")
    for version in "ab":
        use(residency, loads, version)
    assert residency.ready("a")
    assert not residency.ready("c")
    loads.finish(residency)
    assert residency.resident() == {"a": 0, "c": 1}


def test_books_that_do_not_balance_are_reported():
    residency, loads = desk(1, "a")
    use(residency, loads, "a")
    residency.hold("a")
    residency.check()
    for held in ([], ["a", "a"], ["b"]):
        with pytest.raises(EngineError, match="which are not the engine's"):
            residency.check(held)
    residency.release("a")
    for misuse in (residency.release, lambda version: residency.loaded(0, version), residency.release):
        with pytest.raises(EngineError, match=r"a row left|was requested"):
            misuse("a")
    with pytest.raises(EngineError, match="before it was loaded"):
        residency.hold("unknown")


NUM_SLOTS = 3
VERSIONS = st.sampled_from("abcdef")


class Bank(RuleBasedStateMachine):
    """Rows that read adapter slots while loads write them. `written` is the bank: version, or None while it changes."""

    def __init__(self):
        super().__init__()
        self.written = [None] * NUM_SLOTS
        self.loads = []
        self.rows = []
        self.known, self.pinned, self.failed = set(), set(), {}
        self.used, self.graced = [], set()
        """Resident versions, least recently used first; those that had no row since they were loaded."""
        self.residency = Residency(NUM_SLOTS, self.start_load)

    def start_load(self, slot, version):
        assert slot not in [busy for busy, _ in self.loads]
        assert len(self.loads) < NUM_SLOTS and version in self.known and version not in self.failed
        old = self.written[slot]
        if old is not None and old in self.used:
            assert old not in self.pinned and old not in self.rows
            assert None not in self.empty()
            spare = [one for one in self.used if one not in self.pinned and one not in self.rows]
            first = (
                spare if version in self.pinned or not self.rows else [one for one in spare if one not in self.graced]
            )
            assert old == first[0] if first else old in self.graced
            self.used.remove(old)
            self.graced.discard(old)
        self.written[slot] = None
        self.loads.append((slot, version))

    def empty(self):
        """For each slot None if nothing needs it, empty or left by a removed adapter."""
        busy = {slot for slot, _ in self.loads}
        return [slot if slot in busy or held in self.used else None for slot, held in enumerate(self.written)]

    def touch(self, version):
        self.used = [one for one in self.used if one != version] + [version]

    @rule(version=VERSIONS)
    def add(self, version):
        self.known.add(version)
        self.pinned.discard(version)
        self.failed.pop(version, None)
        self.residency.add(version)

    @rule(version=VERSIONS, pinned=st.booleans())
    def pin(self, version, pinned):
        if version not in self.known:
            with pytest.raises(ModelNotFound):
                self.residency.pin(version, pinned)
        elif pinned and len(self.pinned - {version} - self.failed.keys()) >= NUM_SLOTS:
            with pytest.raises(AdapterError):
                self.residency.pin(version, pinned)
        else:
            (self.pinned.add if pinned else self.pinned.discard)(version)
            self.residency.pin(version, pinned)

    @rule(version=VERSIONS)
    def remove(self, version):
        self.known.discard(version)
        self.pinned.discard(version)
        self.failed.pop(version, None)
        if version not in self.rows and version in self.used:
            self.used.remove(version)
            self.graced.discard(version)
        self.residency.remove(version)

    @rule(version=VERSIONS, rows=st.integers(0, 2))
    def ask(self, version, rows):
        is_there = version in self.used and version in self.known
        if is_there:
            self.touch(version)
        assert self.residency.ready(version) == is_there
        if is_there:
            for _ in range(rows):
                assert self.written[self.residency.hold(version)] == version
                self.rows.append(version)
                self.graced.discard(version)
        elif self.residency.error(version) is None and version not in [loading for _, loading in self.loads]:
            assert None not in self.empty()  # it waits for room: all slots are needed or spared
            spare = [one for one in self.used if one not in self.pinned and one not in self.rows]
            assert set(spare) <= self.graced and (not spare or (self.rows and version not in self.pinned))

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def leave(self, data):
        version = self.rows.pop(data.draw(st.integers(0, len(self.rows) - 1)))
        self.touch(version)
        if version not in self.known and version not in self.rows:
            self.used.remove(version)
        self.residency.release(version)

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), works=st.booleans())
    def end_load(self, data, works):
        slot, version = self.loads.pop(data.draw(st.integers(0, len(self.loads) - 1)))
        if not works:
            error = AdapterError(f"adapter {version} is damaged")
            if version in self.known:
                self.failed[version] = error
            self.residency.failed(slot, version, error)
            return
        if version in self.known:  # else it lies there for nobody
            self.written = [None if held == version else held for held in self.written]  # what an earlier life left
            self.written[slot] = version
            self.touch(version)
            if version not in self.pinned:
                self.graced.add(version)
        self.residency.loaded(slot, version)

    @invariant()
    def rows_read_what_was_loaded_for_them(self):
        slots = {one.version: one.slot for one in self.residency.snapshot()}
        assert all(self.written[slots[version]] == version for version in self.rows)
        assert self.residency.resident() == {one: slots[one] for one in self.used if one in self.known}

    @invariant()
    def pinned_adapters_wait_for_nothing_but_rows_and_loads(self):
        if self.pinned - self.failed.keys() - set(self.used) - {version for _, version in self.loads}:
            assert None not in self.empty() and set(self.used) <= self.pinned | set(self.rows)

    @invariant()
    def errors_are_those_of_the_unknown_the_failed_and_the_crowded_out(self):
        for version in "abcdef":
            error = self.residency.error(version)
            if version not in self.known:
                assert isinstance(error, ModelNotFound)
            elif version in self.failed:
                assert error is self.failed[version]
            elif error is not None:
                assert len(self.pinned - self.failed.keys()) == NUM_SLOTS and version not in self.used

    @invariant()
    def books_balance(self):
        self.residency.check(self.rows)
        ending = {*self.rows, *(version for _, version in self.loads)}
        assert {one.version for one in self.residency.snapshot()} == self.known | (ending - self.known)


TestBank = Bank.TestCase
TestBank.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
