"""What a run leaves in an adapter's folder is what the checklist reads there."""

import shutil

import pytest

from serve_app import adapters
from serve_app.checklist import Facts, run
from serve_app.checklist.checks import all_checks
from serve_app.config import load
from serve_app.config.nodes import AdapterSource
from serve_app.distill.rows import write_examples
from tests.unit.distill.examples import example


async def items_of(folder):
    """Of an adapter's folder that the settings name."""
    settings = load("demo").model_copy(update={"adapters": {"colours": AdapterSource(path=str(folder))}})
    checks = [check for check in all_checks() if check.area in ("evaluation", "training", "data")]
    items = await run(Facts(settings, "production", folder.parent), checks)
    assert not [item for item in items if "The check itself broke" in item.evidence]
    return {item.id: item for item in items}


def others(world, answer):
    """A regression set in which the new version's `blue` or `green` is right, or not."""
    file = world.folder / "regression.jsonl"
    write_examples(
        [example(index, group="medical", reference=answer, scorer="exact") for index in range(2000, 2040, 2)], file
    )
    return str(file)


@pytest.mark.parametrize(
    ("reference", "status", "said"),
    [
        ("blue", "pass", "passed a gate that compared it in medical"),
        ("no idea", "fail", "refused colours (regression)"),
        (None, "warn", "Nothing says"),
    ],
)
async def test_the_checklist_finds_the_gates_report_beside_the_card(world, reference, status, said):
    pipeline = world.pipeline(regression=others(world, reference) if reference else None)
    version = (await pipeline.train()).figures["version"]
    before = await items_of(pipeline.adapter)
    assert "Nothing says" in before["evaluation.regression"].evidence
    await pipeline.gate()
    assert adapters.verify(adapters.load(pipeline.adapter), world.base).version == version
    item = (await items_of(pipeline.adapter))["evaluation.regression"]
    assert item.status == status
    assert said in item.evidence


async def test_a_report_of_another_version_says_nothing(world):
    pipeline = world.pipeline(regression=others(world, "blue"))
    await pipeline.gate()
    changed = world.folder / "changed" / "colours"
    shutil.copytree(pipeline.adapter, changed)
    manifest = adapters.AdapterManifest(licence=["CC0-1.0"])
    (changed / "headrace.json").write_text(manifest.model_dump_json(exclude_none=True))
    item = (await items_of(changed))["evaluation.regression"]
    assert item.status == "warn"
    assert "judged version" in item.evidence


async def test_the_trainers_figures_are_read_by_their_names(world):
    pipeline = world.pipeline()
    await pipeline.train()
    items = await items_of(pipeline.adapter)
    assert {name: items[name].status for name in ("training.reproducible", "data.named", "data.size")} == {
        "training.reproducible": "pass",
        "data.named": "pass",
        "data.size": "fail",
    }
    assert "training rows" in items["data.size"].evidence
    assert "nats a token" in items["training.loss"].evidence
