"""The journal against a model: any order of calls, then a death, with or without the loss of the last bytes."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import Answer
from serve_app.ledger.journal import Journal, adopt
from serve_app.ledger.journal.frames import Kind, SegmentReader
from serve_app.ledger.journal.records import decode_query_id
from tests.properties import examples
from tests.unit.ledger.scripted import KIB, ScriptedLedger, crash, opening

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 400)),
        st.tuples(st.just("end"), st.integers(0, 400)),
        st.tuples(st.just("gone"), st.integers(0, 5)),
        st.tuples(st.just("settle"), st.integers(1, 6)),
        st.tuples(st.just("postpone"), st.just(0)),
        st.tuples(st.just("synced"), st.just(0)),
    ),
    max_size=80,
)


class Model:
    """What the journal should hold: the open queries and the unsettled accounts, oldest first."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.pending: list[Answer] = []
        self.settled: list[Answer] = []
        self.num_begun = 0


async def drive(journal: Journal, model: Model, steps: list[tuple[str, int]], answer) -> None:
    """Do the same to both, and compare after each step."""
    for step, number in steps:
        if step == "begin":
            query_id = f"q{model.num_begun}"
            model.num_begun += 1
            journal.begin(opening(query_id, key_id="k" * number))
            model.open.append(query_id)
        elif step == "end" and model.open:
            account = answer(model.open.pop(number % len(model.open)), reason="x" * number)
            journal.end(account)
            model.pending.append(account)
        elif step == "gone" and model.open:
            journal.gone(model.open.pop(number % len(model.open)))
        elif step == "settle":
            batch = await journal.head(number)
            assert batch == model.pending[:number]
            journal.settle(len(batch)) if batch else None
            model.settled += batch
            del model.pending[:number]
        elif step == "postpone" and model.pending:
            (head,) = await journal.head(1)
            journal.end(head)
            journal.settle(1)
            model.pending.append(model.pending.pop(0))
        elif step == "synced":
            await journal.synced()
        assert (len(journal), journal.num_open) == (len(model.pending), len(model.open))


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, window=st.integers(6, 9))
def test_after_any_calls_and_a_death_the_adopter_finds_what_the_model_holds(answer, steps, window):
    async def scenario(root: Path) -> None:
        journal, model = Journal.open(root, "gw", segment_mb=2 * KIB, window=window), Model()
        await drive(journal, model, steps, answer)
        crash(journal)
        ledger = ScriptedLedger()
        adopted = await adopt(root, ledger, batch=4)
        assert (adopted.num_answers, adopted.num_lost) == (len(model.pending), len(model.open))
        assert list(ledger.stored.values())[: len(model.pending)] == model.pending
        assert sorted(list(ledger.stored)[len(model.pending) :]) == sorted(model.open)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))
        assert not list(Path(folder).glob("*.damaged"))


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, data=st.data())
def test_cut_off_at_any_byte_what_was_whole_before_it_counts_and_nothing_twice(answer, steps, data):
    async def scenario(root: Path) -> None:
        journal, model = Journal.open(root, "gw", segment_mb=1, window=6), Model()
        await drive(journal, model, steps, answer)
        crash(journal)
        (path, *_) = journal._folder.segment_paths()
        whole = path.read_bytes().rstrip(b"\0")
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut] + b"\0" * 64)
        ended = [frame for frame in SegmentReader(path).frames() if frame.kind is Kind.END]
        ledger = ScriptedLedger()
        ledger.stored = {account.query_id: account for account in model.settled}
        num_before = len(ledger.stored)
        await adopt(root, ledger)
        for frame in ended:  # what is still whole is with the ledger, as it was written
            assert ledger.stored[decode_query_id(frame.payload)].outcome == "accepted"
        known = {account.query_id for account in [*model.pending, *model.settled]} | set(model.open)
        assert set(list(ledger.stored)[num_before:]) <= known | {f"q{index}" for index in range(model.num_begun)}
        assert not (root / "gw").exists()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))
