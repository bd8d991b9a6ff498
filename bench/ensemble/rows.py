"""What a group of four rows in one batch costs beside one row: wall time from the call to the last token.

    python -m bench.ensemble.rows [--quick] [--threads 1] [--json FILE]

On the shipped small base with its four shipped adapters and the engine's own defaults (it guesses ahead where a row
repeats itself, one row further than four), stepped here in place of its thread. A question goes to all members, each
with its own system prompt; answers end where the model ends them, or at 48 tokens.

    adapters    four rows of four adapters             samples     four samples of one adapter, of one prompt
    lock_step   four adapters, averaged each token

Each member is answered alone right before its group, so that both see the same neighbours on the machine. A group is
as long as its longest answer, so it is set against the member that took longest alone; in lock step, where there is one
answer of a length of its own, by the token. Ratios are medians over rounds. `steady` is the same for adapters with
guessing off and answers of exactly 48 tokens: the cost of batching by itself.

Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from bench.machine import describe
from serve_app import adapters
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import cache_dir, resolve
from serve_app.core import Call, Message, SamplingParams, Usage
from serve_app.engine.assembly import assemble, make_loop
from serve_app.engine.load import read_pairs
from serve_app.engine.loop import EngineLoop
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Discard, Ensemble, Request, SampledToken
from serve_app.engines.prompt import PromptEncoder

SMALL = "smollm2-135m-instruct"
MEMBERS = 4
ANSWER_TOKENS = 48
QUESTIONS = (
    "What does it mean if my landlord keeps the deposit because of a scratch on the floor?",
    "How do I find out which program is using port 8080 on my machine?",
    "Why do my hands go numb when I ride my bicycle for a long time?",
    "My card was charged twice for the same hotel night. What should I do?",
    "Explain the difference between a fixed and a variable interest rate.",
    "What is a good way to learn the names of all my new neighbours?",
    "How can I tell whether a mushroom that I found is safe to eat?",
    "Write a note to my colleague that I will be late for the meeting on Monday.",
    "Which papers do I need to rent out my flat while I am abroad?",
    "How do I count the lines of all text files in a folder?",
)


@dataclass
class Clocked(Discard):
    """Counts the tokens."""

    tokens: int = 0

    def token(self, token: SampledToken, finish: Any, usage: Usage) -> bool:
        """See Sink."""
        self.tokens += 1
        return False


@dataclass(frozen=True)
class Taken:
    """Seconds of one group."""

    whole_s: float
    cpu_s: float
    """Of this thread, which does all the work where `threads` is 1: what the wall shows on a machine of its own."""
    tokens: int
    """Of the longest answer."""
    steps: int


@dataclass
class Engine:
    """The true engine without its thread, all adapters resident."""

    loop: EngineLoop
    prompts: PromptEncoder
    specs: Sequence[AdapterSpec]
    about: str
    serial: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def make(cls, threads: int, guessing: bool, ends: bool) -> Engine:
        """Warm. `ends`: the model's end tokens end an answer. Raises CatalogueError where the base is not here."""
        files, specs = resolve(SMALL), [adapters.load(adapters.shipped(one), one) for one in adapters.shipped_names()]
        by_version = {spec.version: spec for spec in specs}
        options = EngineOptions(threads=threads)
        assembly = assemble(files.path, options, cache_dir() / "kernels")
        assembly.runner.warm_up()

        def write(slot: int, version: str) -> None:
            assembly.bank.write(slot, read_pairs(by_version[version], assembly.target))
            loop.adapter_loaded(slot, version)

        prompts = PromptEncoder(files.path)
        end_ids = prompts.end_ids if ends else ()
        loop = make_loop(assembly, write, end_ids, nullcontext, options.draft_tokens if guessing else 0)
        for version in by_version:
            loop.add_adapter(version)
            loop.preload_adapter(version)
        about = f"{assembly.choice}, decoder {assembly.decoder}, kernels {assembly.kernels}"
        return cls(loop, prompts, specs[:MEMBERS], about)

    def request(self, spec: AdapterSpec, question: str, **fields: Any) -> Request:
        """A question to one adapter. Each gets a number, so that no two prompts begin alike after the system prompt."""
        serial = next(self.serial)
        messages = (Message("user", f"({serial}) {question}"),)
        ids = self.prompts.encode(Call(f"{serial}", SamplingParams(), messages), spec.manifest, 2048)
        return Request(f"{serial}", tuple(ids), ANSWER_TOKENS, Clocked(), spec.version, **fields)

    def of_adapters(self, question: str) -> list[Request]:
        """Four rows of four adapters."""
        return [self.request(spec, question) for spec in self.specs]

    def of_samples(self, question: str) -> list[Request]:
        """Four samples of one adapter."""
        first = self.request(self.specs[0], question, temperature=0.8, seed=0)
        return [
            replace(first, request_id=f"{first.request_id}.{seed}", seed=seed, sink=Clocked())
            for seed in range(MEMBERS)
        ]

    def of_lock_step(self, question: str) -> list[Request]:
        """Four adapters in lock step."""
        members = self.of_adapters(question)
        ensemble = Ensemble(members[0].request_id, MEMBERS)
        return [replace(member, ensemble=ensemble) for member in members]

    def time(self, requests: Sequence[Request]) -> Taken:
        """Submit, and step until all are answered."""
        start_s, start_cpu_s, steps = time.perf_counter(), time.thread_time(), 0
        self.loop.submit(*requests)
        while (load := self.loop.load()).active_rows or load.waiting_requests:
            self.loop.step()
            steps += 1
        taken_s, taken_cpu_s = time.perf_counter() - start_s, time.thread_time() - start_cpu_s
        tokens = max(request.sink.tokens for request in requests if isinstance(request.sink, Clocked))
        return Taken(taken_s, taken_cpu_s, tokens, steps)

    def round(self, make: Callable[[str], list[Request]], question: str) -> Round:
        """Every member alone, then all together. Prompts are new each time: nothing is reused between the two."""
        alone = [self.time([replace(one, ensemble=None)]) for one in make(question)]
        return Round(alone, self.time(make(question)))


@dataclass(frozen=True)
class Round:
    """One group, and its members one by one."""

    alone: Sequence[Taken]
    together: Taken

    def ratio(self, seconds: str) -> float:
        """To the member that took longest."""
        return float(getattr(self.together, seconds) / max(getattr(one, seconds) for one in self.alone))

    def ratio_a_token(self) -> float:
        """Seconds a token, to the mean of the members'."""
        alone = statistics.mean(one.whole_s / one.tokens for one in self.alone)
        return self.together.whole_s / self.together.tokens / alone


def measure(quick: bool, threads: int = 1) -> dict[str, Any]:
    """`time_of_4_over_1` (four adapters), the same of the other kinds, and what they are made of. Seconds are medians.

    Restores torch's threads. Raises CatalogueError where the base is not on this machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    questions = QUESTIONS[:5] if quick else QUESTIONS * 2
    try:
        engine = Engine.make(threads, guessing=True, ends=True)
        makes = {"adapters": engine.of_adapters, "samples": engine.of_samples, "lock_step": engine.of_lock_step}
        rounds = _rounds(engine, makes, questions)
        steady = Engine.make(threads, guessing=False, ends=False)
        batching = _rounds(steady, {"steady": steady.of_adapters}, questions)["steady"]
    finally:
        torch.set_num_threads(before)
    return {
        "time_of_4_over_1": _median(one.ratio("whole_s") for one in rounds["adapters"]),
        "time_of_4_samples_over_1": _median(one.ratio("whole_s") for one in rounds["samples"]),
        "time_of_4_in_lock_step_over_1": _median(one.ratio_a_token() for one in rounds["lock_step"]),
        "time_of_4_over_1_without_guessing": _median(one.ratio("whole_s") for one in batching),
        "cpu_of_4_over_1": {
            kind: _median(one.ratio("cpu_s") for one in rounds[kind]) for kind in ("adapters", "samples")
        },
        "rows": {kind: _figures(found) for kind, found in (rounds | {"steady": batching}).items()},
        "most_answer_tokens": ANSWER_TOKENS,
        "members": MEMBERS,
        "threads": threads,
        "rounds": len(questions),
        "engine": engine.about,
    }


def _rounds(
    engine: Engine, makes: Mapping[str, Callable[[str], list[Request]]], questions: Sequence[str]
) -> dict[str, list[Round]]:
    for make in makes.values():
        engine.time(make("Are you awake?"))
    found: dict[str, list[Round]] = {kind: [] for kind in makes}
    for question in questions:
        for kind, make in makes.items():
            found[kind].append(engine.round(make, question))
    return found


def _figures(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    alone, together = [taken for one in rounds for taken in one.alone], [one.together for one in rounds]
    return {
        name: {
            field: _median(getattr(one, field) for one in taken) for field in ("whole_s", "cpu_s", "tokens", "steps")
        }
        for name, taken in (("alone", alone), ("together", together))
    }


def _median(figures: Iterable[float]) -> float:
    return round(statistics.median(figures), 4)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--threads", type=int, default=1, help="of a forward pass")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    args = parser.parse_args()
    transformers_logging.disable_progress_bar()
    result = describe("torch", "transformers") | measure(args.quick, args.threads)
    table = Table("rows", "", "whole s", "cpu s", "tokens", "steps")
    for kind, both in result["rows"].items():
        for name, taken in both.items():
            table.add_row(kind, name, *(str(figure) for figure in taken.values()))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
