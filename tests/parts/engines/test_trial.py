"""A trial tells what a version answers, and leaves nothing behind."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from serve_app.core import AdapterError
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.engines.trial import MAX_TOKENS, trial
from tests.parts.engines.conftest import WEIGHTS


async def test_report_is_plain_and_the_engine_is_as_before(start, spec, make_adapter):
    engine = await start()
    report = await trial(engine, make_adapter(5), False)
    assert json.loads(json.dumps(report)) == report
    assert report["tokens"] == MAX_TOKENS and report["text"] and report["ms"] > 0
    assert report["finite"] and report["differs_from_base"] and report["error"] is None
    assert report["mean_logprob"] <= 0
    assert (await engine.info()).adapters == {"legal": spec.version} and set(engine._specs) == {spec.version}


async def test_version_that_is_served_can_be_tried_too_and_stays(start, spec, asking, reading):
    engine = await start()
    report = await trial(engine, spec.path, True)
    assert report["finite"] and report["differs_from_base"], "its own system prompt is the base's as well"
    assert await reading(engine, asking(adapter="legal", max_tokens=2))


async def test_adapter_that_changes_nothing_is_seen(start, make_adapter):
    folder = make_adapter()
    tensors = load_file(folder / WEIGHTS)
    save_file(
        {key: torch.zeros_like(one) if "lora_B" in key else one for key, one in tensors.items()}, folder / WEIGHTS
    )
    report = await trial(await start(), folder, False)
    assert report["finite"] and not report["differs_from_base"]


async def test_adapter_whose_answer_is_not_finite_is_reported_and_gone(start, spec, make_adapter):
    engine = await start()
    report = await trial(engine, make_adapter(std=1e18), False)
    assert not report["finite"] and not report["differs_from_base"] and "not finite" in report["error"]
    assert (report["text"], report["tokens"], report["mean_logprob"]) == ("", 0, None)
    assert set(engine._specs) == {spec.version}


async def test_adapter_that_the_engine_cannot_hold_is_an_error(start, make_adapter, tmp_path: Path):
    engine = await start(max_adapter_rank=8)
    with pytest.raises(AdapterError, match="raise max_adapter_rank"):
        await trial(engine, make_adapter(rank=16), False)
    with pytest.raises(AdapterError, match="tiny"):
        await trial(engine, make_adapter(base_model_name_or_path="another"), False)
    with pytest.raises(AdapterError, match="is no folder"):
        await trial(engine, tmp_path / "nothing", False)


async def test_scripted_version_is_tried_by_its_own_answer(make_adapter):
    engine = FakeEngine(default="the base")
    folder = make_adapter()
    version = engine.read_adapter(folder, "any", False).version
    engine.answers = {version: FakeAnswer("another answer", logprob=-0.5)}
    report = await trial(engine, folder, False)
    assert (report["text"], report["mean_logprob"], report["differs_from_base"]) == ("another answer", -0.5, True)
    assert not engine._held
