"""A small world: topics that the large model knows mostly, the base does not, and a trained adapter does.

Training is real, on a tiny model in milliseconds; what versions answer is scripted.
"""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from serve_app.distill.answers import LocalAnswerer
from serve_app.distill.lora import LoraTrainer
from serve_app.distill.pipeline import Models, Pipeline
from serve_app.distill.plan import Plan
from serve_app.distill.rows import write_examples
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.training.cascade import Prices
from tests.parts.training.conftest import tiny_base
from tests.unit.distill.examples import example, question, right

__all__ = ["tiny_base"]

NUMBERS = Prices(1.0, 2.0, 4.0, 8.0)


class Quiet:
    """A watch that nobody looks at; may break a run off after some steps."""

    def __init__(self):
        self.steps, self.stop_after = 0, None

    def stage(self, title, total):
        return lambda num_rows: None

    def step(self, report):
        self.steps += 1
        if self.steps == self.stop_after:
            raise KeyboardInterrupt


@dataclass
class World:
    """Makes pipelines. `learnt`: what a trained version answers; the base answers with no confidence."""

    base: object
    folder: object
    learnt: object = right
    watch: Quiet = field(default_factory=Quiet)
    engines: list = field(default_factory=list)
    published: list = field(default_factory=list)

    def pipeline(self, run="run", captured=None, **plan):
        """A run over log.jsonl with labelled.jsonl, unless the plan says otherwise."""
        source = {"log": str(self.folder / "log.jsonl"), "fewest": 20, **plan.pop("source", {})}
        train = {"rank": 2, "alpha": 4, "epochs": 1, "dtype": "float32", "device": "cpu", "rows_per_step": 8,
                 "checkpoint_every_steps": 1}  # fmt: skip

        told = {"name": "colours", "scorer": "agreement", "max_tokens": 4, "source": source, "train": train,
                "labelled": str(self.folder / "labelled.jsonl"), **plan}  # fmt: skip
        made = Plan.model_validate(told)
        models = Models(
            base=self.base,
            small=lambda version: self.answerer(lambda call: self.small(call, version), version),
            large=self.answerer(self.large, None, "large"),
            train=LoraTrainer(self.base, made.train, self.watch),
            prices=NUMBERS,
            publish=self.publish,
        )
        return Pipeline(made, self.folder / run, models, captured, self.watch.stage)

    def answerer(self, script, version, name="small"):
        @asynccontextmanager
        async def engine(asker, num_asks):
            adapters = {} if version is None else {version.name: version.version}
            started = FakeEngine(script, adapters=adapters)
            self.engines.append(started)
            yield started

        return LocalAnswerer(self.base, version, cache=self.folder / "cache" / name, engine=engine)

    def small(self, call, version):
        text = call.messages[-1].content
        if version is None:
            return FakeAnswer("no idea", logprob=-3.0, entropy=2.0, margin=0.1)
        return FakeAnswer(self.learnt(text))

    def large(self, call):
        text = call.messages[-1].content
        unsure = sum(text.encode()) % 10 == 0
        if unsure and call.sampling.temperature:
            return "red"
        return right(text)

    def publish(self, folder, name, url, weight):
        self.published.append((folder, name, url, weight))
        return {"version": "abc", "state": "canary"}


@pytest.fixture
def world(tiny_base, tmp_path):
    write_examples((example(index, reference=right(question(index)), scorer="exact") for index in range(1000, 1200)),
                   tmp_path / "labelled.jsonl")  # fmt: skip
    lines = [{"id": f"q{index}", "question": question(index), "large_answer": right(question(index))}
             for index in range(120)]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return World(tiny_base, tmp_path)
