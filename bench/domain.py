"""A new domain on the running graph: how long from a trained adapter and a file of examples to routed answers?

    python -m bench.domain [--json FILE] [--examples 300] [--asked 200]      writes bench/results/domain.json

1. The graph `router` runs with the real small model, the shipped router and the adapters legal, medical and code.
2. `headrace adapters add support shipped:support --live --examples FILE` is run as people run it. The file holds
   requests of CLINC150's training split, from which the adapter was trained.
3. Held-out requests of its test split are asked with `model: auto`. Held-out rows of the shipped router's own test file
   tell what the others lose.

This is done twice, for two forms of the same requests: `question`, as the adapter was trained, with a question about
the topic and the topics to choose from, by which the router may know them; and `bare`, without, which lie close to what
the shipped router calls general.

The parts of the command are told apart by what they leave: the router's folder, the audit log, the routing's history,
all by the clock of one machine. Training the adapter is not in it; its card says what that took (379 s).
Without the public data (HEADRACE_DATA) it prints why it is skipped. The last line of the output is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.chaos.graph import running
from bench.machine import DATA
from serve_app import catalogue
from serve_app.config import load, profiles
from serve_app.encoder import Encoder
from serve_app.router import DomainRouter, Row, read_rows, shipped
from serve_app.router.metrics import confusion, wilson
from serve_app.training.specialists.public_sets import RoutingTests, read_records
from serve_app.training.specialists.support import asked, topic_name

NAME, KEY = "support", "domain-bench-admin-key"
_COMMAND_S, _FIRST_S = 600.0, 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One held-out request and the topic that the adapter should name."""

    text: str
    topic: str


def requests_of(split: str, number: int) -> dict[str, list[Request]]:
    """So many in-scope requests of CLINC150, none of which stands in the router's test files, in each form."""
    records = [row for row in read_records(DATA, f"clinc150/{split}.jsonl") if row["domain"] != "oos"]
    rows = random.Random(split).sample(RoutingTests.read(DATA).without(records, "text"), number)
    topics, rng = sorted({topic_name(row["domain"]) for row in records}), random.Random(split)
    return {
        "question": [Request(one["prompt"], one["completion"]) for one in (asked(row, topics, rng) for row in rows)],
        "bare": [Request(row["text"], topic_name(row["domain"])) for row in rows],
    }


def write_settings(folder: Path) -> Path:
    """The demo profile without the fallback's share of the machine; its ledger and store are in the folder."""
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    settings["ledger"] = {
        "url": f"sqlite:///{folder / 'ledger.sqlite3'}",
        "journal": {"folder": str(folder / "journals")},
    }
    settings["registry"] = {"store": str(folder / "store")}
    settings["gateway"] |= {"admin_keys": {"bench": KEY}}
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


class Server:
    """The running graph, asked over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=120)

    def get(self, path: str) -> Any:
        """A page's JSON."""
        return self._client.get(path).raise_for_status().json()

    def ask(self, text: str) -> tuple[str, dict[str, Any]]:
        """The answer of `auto` and its account."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 16, "temperature": 0}
        answer = self._client.post("/v1/chat/completions", json=body).raise_for_status().json()
        return answer["choices"][0]["message"]["content"], answer["headrace"]


def add(server: Server, examples: Path, out: Path) -> dict[str, Any]:
    """Run the command and ask until an answer comes from the new adapter; what it says, and seconds of each part."""
    command = [
        "adapters",
        "add",
        NAME,
        f"shipped:{NAME}",
        "--live",
        "--examples",
        str(examples),
        "--router-out",
        str(out),
    ]
    began_s = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", *command, "--url", server.url, "--key", KEY, "--json"],
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )
    ended_s = time.time()
    if done.returncode:
        raise RuntimeError(f"the command failed: {done.stderr}")
    told = json.loads(done.stdout)
    tries = _until_routed(server, read_rows(examples)[0].text)
    first_s = time.time()
    routed_s = (out / "router.safetensors").stat().st_mtime
    changes = {line["action"]: line["at"] for line in server.get(f"/v1/adapters/audit?name={NAME}")["data"]}
    parts = {
        "router_s": routed_s - began_s,
        "adapter_s": changes["promote"] - routed_s,
        "routing_s": ended_s - changes["promote"],
        "first_answer_s": first_s - ended_s,
    }
    parts |= {"command_s": ended_s - began_s, "whole_s": first_s - began_s}
    return {"seconds": {name: round(took_s, 2) for name, took_s in parts.items()}, "tries": tries, "told": told}


def _until_routed(server: Server, text: str) -> int:
    """Asks until the new adapter answers; how often."""
    give_up_s = time.monotonic() + _FIRST_S
    tries = 1
    while server.ask(text)[1]["adapter"] != NAME:
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"no answer came from {NAME} within {_FIRST_S:g} s")
        tries += 1
    return tries


def answered(server: Server, requests: Sequence[Request], version: str) -> dict[str, Any]:
    """How many went to the new label, were answered by that version, and named the topic."""
    found = [(request, *server.ask(request.text)) for request in requests]
    return {
        "asked": len(found),
        "routed": _share([account["route"] == NAME for _, _, account in found]),
        "answered": _share([account["adapter_version"] == version for _, _, account in found]),
        "right_topic": _share([text.strip() == request.topic for request, text, _ in found]),
        "elsewhere": confusion([NAME] * len(found), [account["route"] for _, _, account in found]),
    }


def others(folders: dict[str, Path]) -> dict[str, Any]:
    """The router's own held-out test file, by the routers of these folders: the share that is right of each label."""
    rows = read_rows(DATA / "routing" / "test.jsonl")
    encoder = Encoder(catalogue.resolve(load("demo").router.encoder).path)
    found = {}
    for name, folder in folders.items():
        given = [score.label for score in DomainRouter.load(folder, encoder).score_texts([row.text for row in rows])]
        found[name] = by_label(rows, given)
    return found


def by_label(rows: Sequence[Row], given: Sequence[str]) -> dict[str, Any]:
    """The share that is right of each label and of all, and how many were called the new label."""
    labels = sorted({row.label for row in rows})
    pairs = list(zip(rows, given, strict=True))
    right = {label: _share([guess == label for row, guess in pairs if row.label == label]) for label in labels}
    return right | {"all": _share([row.label == guess for row, guess in pairs]), NAME: given.count(NAME)}


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(hits), len(hits))
    return {"share": round(sum(hits) / len(hits), 4), "low_95": round(low, 4), "high_95": round(high, 4)}


def measure(examples: Sequence[Request], held_out: Sequence[Request], folder: Path) -> dict[str, Any]:
    """One domain added, and what is answered then."""
    rows, out = folder / "examples.jsonl", folder / "router"
    rows.write_text("".join(json.dumps({"text": one.text, "label": NAME}) + "\n" for one in examples))
    with running(write_settings(folder), folder / "stderr.log", "router") as graph:
        server = Server(graph.url)
        before = server.ask(held_out[0].text)[1]
        added = add(server, rows, out)
        told = added.pop("told")
        found = answered(server, held_out, told["version"])
    judged = {key: told["taught"][key] for key in ("before", "after", "new_right_95", "released")}
    return {
        "examples": len(examples),
        "before": {key: before[key] for key in ("route", "adapter")},
        **added,
        "version": told["version"],
        "held_out": found,
        "examples_judged_by_the_others": judged,
        "router_test_file": others({"before": shipped(), "after": out}),
    }


def measured(num_examples: int, num_asked: int) -> dict[str, Any]:
    """Each form on a graph of its own."""
    settings = load("demo")
    for model in (settings.specialists.model, settings.router.encoder):
        catalogue.pull(model)
    examples, held_out = requests_of("train", num_examples), requests_of("test", num_asked)
    found = {}
    for form in examples:
        with tempfile.TemporaryDirectory(prefix="headrace-domain-") as folder:
            found[form] = measure(examples[form], held_out[form], Path(folder))
    return found


def show(forms: dict[str, dict[str, Any]]) -> None:
    """The tables for people, a column for each form."""
    console = Console()
    table = Table("", *forms, title="A domain added to the running graph")
    for part in next(iter(forms.values()))["seconds"]:
        took = [f"{found['seconds'][part]:.1f}" for found in forms.values()]
        table.add_row(f"{part.removesuffix('_s').replace('_', ' ')}, s", *took)
    for key in ("routed", "answered", "right_topic"):
        title = f"held-out requests: {key.replace('_', ' ')}"
        table.add_row(title, *(f"{found['held_out'][key]['share']:.1%}" for found in forms.values()))
    for label in next(iter(forms.values()))["examples_judged_by_the_others"]["before"]:
        table.add_row(f"{label}: its examples right", *(_change(found, label) for found in forms.values()))
        tests = [found["router_test_file"] for found in forms.values()]
        change = [f"{one['before'][label]['share']:.1%} → {one['after'][label]['share']:.1%}" for one in tests]
        table.add_row(f"{label}: router's test file right", *change)
    console.print(table)


def _change(found: dict[str, Any], label: str) -> str:
    judged = [found["examples_judged_by_the_others"][when][label] for when in ("before", "after")]
    return " → ".join(f"{given.get(label, 0) / sum(given.values()):.1%}" for given in judged)


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=300, help="rows that the router learns from")
    parser.add_argument("--asked", type=int, default=200, help="held-out requests")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "domain.json", help="where figures go")
    args = parser.parse_args()
    if not (DATA / "clinc150").is_dir():
        print(json.dumps({"bench": "domain", "skipped": f"CLINC150 is not at {DATA}: set HEADRACE_DATA."}))
        return
    result: dict[str, Any] = {"bench": "domain", "machine": machine.describe("ray", "torch", "onnxruntime")}
    result["forms"] = measured(args.examples, args.asked)
    show(result["forms"])
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
