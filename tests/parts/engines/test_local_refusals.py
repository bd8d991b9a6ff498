"""An adapter that cannot be served is refused with its reason, and the calls under way do not notice."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from serve_app.adapters import load, verify
from serve_app.core import AdapterError, EngineError

from .conftest import WEIGHTS


def tokens_of(deltas):
    return [token.token_id for delta in deltas for token in delta.tokens]


def change(folder, alter):
    """Rewrite the tensors of a folder: `alter` takes and returns a dictionary."""
    save_file(alter(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def with_nan(folder):
    def alter(tensors):
        next(iter(tensors.values()))[0, 0] = torch.nan
        return tensors

    change(folder, alter)


def of_other_widths(folder):
    change(folder, lambda tensors: {k: t[:, :32].clone() if "lora_A" in k else t for k, t in tensors.items()})


def of_other_rank_than_it_says(folder):
    change(folder, lambda tensors: {k: t[:3].clone() if "lora_A" in k else t for k, t in tensors.items()})


def of_a_deeper_base(folder):
    change(folder, lambda tensors: {k.replace("layers.1", "layers.7"): t for k, t in tensors.items()})


def as_pickle(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def cut_short(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def on_the_head(folder):
    change(
        folder, lambda tensors: {k.replace("model.layers.0.self_attn.q_proj", "lm_head"): t for k, t in tensors.items()}
    )


def with_a_broken_template(folder):
    (folder / "headrace.json").write_text(json.dumps({"chat_template": "{% for %}"}))


def as_it_is(folder):
    """No damage to the files."""


@pytest.mark.parametrize(
    ("damage", "config", "said"),
    [
        (with_nan, {}, "holds NaN or infinity"),
        (as_it_is, {"base_model_name_or_path": "hub/other"}, "names the base 'hub/other', and this one is 'tiny'"),
        (of_other_widths, {}, r"of 32 to \d+, the base 96 to \d+; it belongs to another base"),
        (of_other_rank_than_it_says, {}, "which do not fit rank 4"),
        (of_a_deeper_base, {}, r"layers\.7\.\S+, which the base does not have"),
        (as_it_is, {"use_dora": True}, "uses DoRA, which is not served"),
        (as_it_is, {"rank_pattern": {"q_proj": 2}}, "uses a rank per module"),
        (as_it_is, {"peft_type": "IA3"}, "only LORA adapters can be served"),
        (on_the_head, {}, "adapts an embedding, which is not served"),
        (as_it_is, {"rank": 16}, "has rank 16, more than the 8 an adapter slot holds; raise max_adapter_rank"),
        (as_pickle, {}, "is a pickle, which can run code and is never read"),
        (cut_short, {}, "is damaged"),
        (with_a_broken_template, {}, "the manifest's chat_template is wrong"),
    ],
)
async def test_bad_adapter_is_refused_with_its_reason_and_the_others_are_answered(
    start, spec, model, make_adapter, asking, reading, beginning, stopped, damage, config, said
):
    engine = await start(max_adapter_rank=8)
    calls = [asking(call_id=f"{n}", adapter=(None, "legal")[n % 2], max_tokens=6) for n in range(4)]
    undisturbed = [tokens_of(await reading(engine, call)) for call in calls]
    folder = make_adapter(**config)
    damage(folder)
    with stopped(engine):
        begun = [await beginning(engine, call) for call in calls]
        with pytest.raises(AdapterError, match=said):
            await engine.add_version(verify(load(folder, "bad"), model))
    assert [tokens_of(await task) for task in begun] == undisturbed
    assert (await engine.info()).adapters == {"legal": spec.version}
    good = verify(load(make_adapter(), "good"), model)
    await engine.add_version(good)
    await engine.set_live({"good": good.version})
    assert await reading(engine, asking(adapter="good", max_tokens=2))


async def test_engine_checks_what_an_override_let_through_and_what_changed_since(start, make_adapter, spec):
    engine = await start()
    for damage, said in (
        (of_other_widths, r"has shapes \(\(4, 32\), \S+ 4\)\), the base and rank need \(\(4, 96\), \S+ 4\)\)"),
        (of_a_deeper_base, r"the base has no linear layer model\.layers\.7\.\S+ that an adapter may change"),
    ):
        damage(folder := make_adapter())
        with pytest.raises(AdapterError, match=said):
            await engine.add_version(load(folder, "bad"))
    changed = load(folder := make_adapter(), "changed")
    with_nan(folder)
    with pytest.raises(AdapterError, match=f"are no longer those of version {changed.version}; add it again"):
        await engine.add_version(changed)
    assert (await engine.info()).adapters == {"legal": spec.version}


async def test_version_whose_files_changed_is_not_loaded_again_as_if_it_were_the_same(
    start, make_adapter, asking, reading
):
    one, other = (load(make_adapter(seed), name) for seed, name in ((1, "one"), (2, "other")))
    engine = await start([one, other], adapter_slots=1)
    before = tokens_of(await reading(engine, asking(adapter="one", max_tokens=5)))
    change(one.path, lambda tensors: {key: tensor * 2 for key, tensor in tensors.items()})
    assert tokens_of(await reading(engine, asking(adapter="one", max_tokens=5))) == before, "it is resident"
    await reading(engine, asking(adapter="other", max_tokens=2))
    with pytest.raises(AdapterError, match=r"one: the files in .* are no longer those of version"):
        await reading(engine, asking(adapter="one"))
    assert await reading(engine, asking(adapter="other", max_tokens=2))
    again = load(one.path, "one")
    await engine.add_version(again)
    await engine.set_live({"one": again.version, "other": other.version})
    deltas = await reading(engine, asking(adapter="one", max_tokens=5))
    assert {delta.adapter_version for delta in deltas} == {again.version}


async def test_adapter_that_overflows_in_the_forward_pass_fails_its_own_calls_only(
    start, make_adapter, asking, reading, beginning, stopped
):
    engine = await start()
    good = tokens_of(await reading(engine, asking(adapter="legal", max_tokens=6)))
    wild = load(make_adapter(std=1e18), "wild")
    await engine.add_version(wild)
    await engine.set_live(dict((await engine.info()).adapters) | {"wild": wild.version})
    with stopped(engine):
        wild = await beginning(engine, asking(call_id="wild", adapter="wild"))
        tame = [await beginning(engine, asking(call_id=f"{n}", adapter="legal", max_tokens=6)) for n in range(3)]
    with pytest.raises(EngineError, match="the model's output was not finite; check this adapter"):
        await wild
    assert [tokens_of(await task) for task in tame] == [good] * 3
    assert tokens_of(await reading(engine, asking(adapter="legal", max_tokens=6))) == good


async def test_bad_adapter_at_the_start_keeps_the_engine_from_starting(start, spec, make_adapter):
    with pytest.raises(AdapterError, match="has rank 16, more than the 8"):
        await start([spec, load(make_adapter(rank=16), "wide")], max_adapter_rank=8)
    with pytest.raises(EngineError, match="two adapters have the same name"):
        await start([spec, replace(spec)])
