"""A run from a log to a canary, what makes the gate refuse, and how it goes on after it was broken off."""

import json

import pytest

from serve_app import adapters
from serve_app.confidence import policy as policies
from serve_app.core import DataError
from serve_app.distill.near import near_pairs
from serve_app.distill.rows import read_examples, write_examples
from tests.unit.distill.examples import example, question, right


async def test_a_run_ends_in_a_canary_that_escalates_less(world):
    pipeline = world.pipeline(publish={"url": "http://server", "weight": 0.2})
    done = await pipeline.publish()
    report = (await pipeline.gate()).figures
    assert done.figures == {"published": True, "version": "abc", "state": "canary"}
    assert world.published == [(pipeline.adapter, "colours", "http://server", 0.2)]
    assert report["passed"], report["checks"]
    assert report["before"]["escalation"] == 1.0
    assert report["after"]["escalation"] < 0.5
    assert report["after"]["saved"] > report["before"]["saved"] == 0
    assert report["version"] == adapters.load(pipeline.adapter).version
    assert (world.folder / "run" / "gate" / "policy.json").exists()


async def test_what_the_large_model_is_unsure_of_is_not_learnt_but_sets_the_threshold(world):
    pipeline = world.pipeline()
    figures = (await pipeline.split()).figures
    parts = {part: read_examples(world.folder / "run" / "split" / f"{part}.jsonl") for part in ("train", "validation")}
    assert all(row.score == 1.0 for row in parts["train"])
    assert any(row.score == 0.0 for row in parts["validation"])
    assert figures["below_min_score"] > 0


async def test_no_near_pair_stands_across_parts_and_none_is_near_a_labelled_row(world):
    again = [example(index, answer="blue") for index in range(40)]
    near = [row.model_copy(update={"id": f"n{row.id}", "messages": (row.messages[0].__class__(
        "user", f"{row.question} please"),)}) for row in again]  # fmt: skip
    asked = [example(index, answer="blue") for index in range(1000, 1010)]
    write_examples([*again, *near, *asked], world.folder / "log.jsonl")
    figures = (await world.pipeline(near={"duplicate": 1.0, "together": 0.6}).split()).figures
    assert figures["near_a_checked_row"] == 10
    rows = [(part, row.text) for part in ("train", "validation", "gate")
            for row in read_examples(world.folder / "run" / "split" / f"{part}.jsonl")]  # fmt: skip
    pairs = list(near_pairs([text for _, text in rows], 0.6))
    assert pairs
    assert all(rows[pair.first][0] == rows[pair.second][0] for pair in pairs)


async def test_the_gate_refuses_a_version_that_learnt_nothing(world):
    world.learnt = lambda text: "green" if right(text) == "blue" else "blue"
    pipeline = world.pipeline(publish={"url": "http://server"})
    assert (await pipeline.publish()).figures == {"published": False, "why": "the gate refused it"}
    failed = {check["name"] for check in (await pipeline.gate()).figures["checks"] if not check["passed"]}
    assert failed == {"better", "escalation"}
    assert not world.published


async def test_the_gate_refuses_a_version_that_is_worse_elsewhere(world):
    others = [example(index, group="medical", reference="no idea", scorer="exact") for index in range(2000, 2040)]
    write_examples(others, world.folder / "regression.jsonl")
    report = (await world.pipeline(regression=str(world.folder / "regression.jsonl")).gate()).figures
    assert [check["name"] for check in report["checks"] if not check["passed"]] == ["regression"]
    assert "medical: 1.000 to 0.000" in json.dumps(report["checks"])


async def test_a_finished_run_asks_and_trains_nothing_again(world):
    await world.pipeline().gate()
    num_engines, num_steps = len(world.engines), world.watch.steps
    again = await world.pipeline().gate()
    assert again.again
    assert (len(world.engines), world.watch.steps) == (num_engines, num_steps)


async def test_other_gate_settings_judge_again_and_train_nothing(world):
    await world.pipeline().gate()
    num_steps = world.watch.steps
    report = (await world.pipeline(gate={"gain": 0.99}).gate()).figures
    assert not report["passed"] or report["gate"]["low"] > 0.99
    assert world.watch.steps == num_steps


async def test_a_run_that_was_broken_off_in_training_goes_on(world):
    whole = (await world.pipeline("whole").train()).figures["version"]
    num_steps = world.watch.steps
    world.watch.steps, world.watch.stop_after = 0, 3
    with pytest.raises(KeyboardInterrupt):
        await world.pipeline("broken").train()
    world.watch.steps, world.watch.stop_after = 0, None
    assert (await world.pipeline("broken").train()).figures["version"] == whole
    assert world.watch.steps == num_steps - 2, "the third step was not in the checkpoint yet"


async def test_a_run_that_was_killed_after_the_adapter_was_written_goes_on(world):
    version = (await world.pipeline().train()).figures["version"]
    (world.folder / "run" / "train" / "done.json").unlink()
    steps = world.watch.steps
    assert (await world.pipeline().train()).figures["version"] == version
    assert world.watch.steps == steps


async def test_training_goes_on_from_the_live_version(world):
    await world.pipeline("first").train()
    live = world.folder / "first" / "train" / "colours"
    figures = (await world.pipeline("second", live=str(live)).train()).figures
    assert figures["from"] == adapters.load(live).version != figures["version"]
    options = {"rank": 2, "alpha": 4, "epochs": 1, "dtype": "float32", "device": "cpu", "go_on": False}
    afresh = (await world.pipeline("third", live=str(live), train=options).train()).figures
    assert afresh["from"] is None


async def test_without_labelled_rows_the_validation_part_sets_the_threshold(world):
    many = [{"id": f"q{index}", "question": question(index), "large_answer": right(question(index))}
            for index in range(500)]  # fmt: skip
    (world.folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in many))
    report = (await world.pipeline(labelled=None, split={"validation": 0.4}).gate()).figures
    assert report["estimated_on"] == "escalated queries"
    assert report["after"]["num_rows"] == 100


async def test_too_few_queries_end_a_run_with_what_was_left_out(world):
    write_examples([example(1, answer="blue"), example(1, answer="blue").model_copy(update={"id": "x"})],
                   world.folder / "log.jsonl")  # fmt: skip
    with pytest.raises(DataError, match=r"1 escalated queries are left.*needs 20 \(left out: 1 near-duplicate\)"):
        await world.pipeline().export()


async def test_a_rule_that_keeps_nothing_is_an_error(world):
    world.large = lambda call: "red"
    with pytest.raises(DataError, match=r"No row of the part 'train' has a score of 0\.6 or more"):
        await world.pipeline().split()


async def test_the_new_version_s_threshold_is_added_to_the_policy_in_use(world):
    await world.pipeline("first").gate()
    in_use = world.folder / "first" / "gate" / "policy.json"
    live = str(world.folder / "first" / "train" / "colours")
    await world.pipeline("second", live=live, policy=str(in_use)).gate()
    before, after = policies.read(in_use), policies.read(world.folder / "second" / "gate" / "policy.json")
    assert after.routes[0] == before.routes[0]
    assert after.routes[1].adapter_version == adapters.load(world.folder / "second" / "train" / "colours").version


async def test_replayed_rows_are_learnt_besides_but_none_that_is_checked(world):
    await world.pipeline("without").split()
    held_out = read_examples(world.folder / "without" / "split" / "gate.jsonl")
    others = [example(index, answer="blue") for index in (*range(3000, 3010), 1000)]
    write_examples([*others, held_out[0].model_copy(update={"id": "held"})], world.folder / "replay.jsonl")
    figures = (await world.pipeline("with", replay=str(world.folder / "replay.jsonl")).split()).figures
    assert figures["replayed"] == 10
    learnt = {row.id for row in read_examples(world.folder / "with" / "split" / "train.jsonl")}
    assert {f"q{index}" for index in range(3000, 3010)} <= learnt
    assert not learnt & {"q1000", "held"}
