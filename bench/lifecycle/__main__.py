"""Adapters are added, tried, promoted, rolled back, removed and added again while clients ask without a pause.

    python -m bench.lifecycle [--quick] [--json FILE]

1. Random adapters are made, and each is asked alone what it says to some texts at which it does not hesitate.
2. The graph `multi_lora` runs with the real engine on two replicas behind two gateways, one thread each. Requests come
   at a constant rate, for the name that changes and for one that does not.
3. Every answer is judged: did it come; did the version that it names answer for the name at that time, by the log of
   changes; is its text what that version says; did a conversation keep its version while nothing changed; does the
   ledger name the same version?

404 is right while the name is removed, and counted apart. What limits it: both cores are shared by engines, gateways
and clients, so the rate is low. Exits with 1 when an answer failed or any was of a wrong version.
Writes bench/results/lifecycle.json, unless --json names another file, and prints it as the last line.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.chaos.graph import running
from bench.lifecycle.changes import BYSTANDER, NAME, Admin, Change, live_through
from bench.lifecycle.graph import ADMIN_KEY, USER_KEY, versions_in_ledger, write_settings
from bench.lifecycle.material import MAX_TOKENS, Truth, learn_now, make_versions
from bench.lifecycle.verdict import Asked, convergence, judge
from bench.load.arrivals import constant
from bench.load.asks import Ask
from bench.load.client import OpenLoop, Outcome
from serve_app import catalogue
from serve_app.adapters import AdapterSpec
from serve_app.config import load

_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done."""

    rate: float
    """Requests a second for the name that changes; a third as many for the other one."""
    calm_s: float
    """Traffic between two changes."""
    num_texts: int


QUICK, FULL = Effort(2.0, 8.0, 40), Effort(2.0, 25.0, 80)


async def under_load(
    url: str, versions: Sequence[AdapterSpec], truth: Truth, effort: Effort
) -> tuple[list[Asked], list[Asked], Admin]:
    """Requests for both names while one of them goes through all changes."""
    admin = Admin(url, ADMIN_KEY)
    loops = [_loop(url, name, rate, truth) for name, rate in ((NAME, effort.rate), (BYSTANDER, effort.rate / 3))]
    runs = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        await admin.patch("begin", pin=False)
        await live_through(admin, versions, effort.calm_s)
    finally:
        for loop in loops:
            loop.stop()
        outcomes = [await run for run in runs]
    ours, others = (
        [_asked(number, one, run.began_at_s, truth) for number, one in enumerate(run.all)] for run in outcomes
    )
    return ours, others, admin


def _loop(url: str, name: str, rate: float, truth: Truth) -> OpenLoop:
    def text(number: int) -> str:
        return truth.texts[number % len(truth.texts)]

    ask = Ask(name, text, stream=False, max_tokens=MAX_TOKENS, key=USER_KEY, more={"temperature": 0})
    return OpenLoop(url, constant(rate, _LONGEST_S), [ask], timeout_s=60, keep_accounts=True)


def _asked(number: int, one: Outcome, began_at_s: float, truth: Truth) -> Asked:
    assert one.done_s is not None, "a run returns when every request has ended"
    account = one.account or {}
    return Asked(
        text=truth.texts[number % len(truth.texts)],
        sent_at_s=began_at_s + (one.sent_s if one.sent_s is not None else one.intended_s),
        done_at_s=began_at_s + one.done_s,
        status=one.status,
        fault=one.fault,
        query_id=account.get("query_id"),
        version=account.get("adapter_version"),
        answer=one.text,
    )


def measure(effort: Effort, folder: Path) -> dict[str, Any]:
    """One run, judged."""
    base = load("demo").specialists.model
    catalogue.pull(base)
    model = catalogue.resolve(base)
    versions = make_versions(model.path, folder, 4)
    truth = learn_now(model, versions, effort.num_texts)
    settings = write_settings(folder, {NAME: versions[0].path, BYSTANDER: versions[3].path})
    with running(settings, folder / "stderr.log", "multi_lora") as graph:
        ours, others, admin = asyncio.run(under_load(graph.url, versions, truth, effort))
        audit = asyncio.run(admin.audit())
    rows = versions_in_ledger(folder)
    verdict = judge(ours, admin.changes, truth.answers, rows)
    still = Change("never changed", 0.0, 0.0, versions[3].version, None, 0.0)
    other = judge(others, [still], truth.answers, rows)
    return {
        "answered": verdict.answered + other.answered,
        "failed": verdict.failed + other.failed,
        "misversioned": verdict.misversioned + other.misversioned,
        "changes": len(admin.changes) - 1,
        "absent": verdict.absent,
        "wrong": {
            kind: getattr(verdict, kind) + getattr(other, kind)
            for kind in ("wrong_time", "wrong_text", "wrong_row", "unsticky")
        },
        "canary_share": canary_share(ours, admin.changes),
        "convergence": convergence(ours, admin.changes),
        "log": [_shown(change, admin.changes[0].done_at_s) for change in admin.changes],
        "audit_entries": len(audit),
        "versions": {f"version {number}": one.version for number, one in enumerate(versions, 1)},
        "answers_by_version": dict(verdict.by_version + other.by_version),
        "problems": verdict.problems + other.problems,
        "effort": asdict(effort),
    }


def canary_share(asked: Sequence[Asked], changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Of each weight: the share of the conversations that the canary answered, between its change and the next."""
    found = []
    for change, after in pairwise(changes):
        if change.canary is None:
            continue
        within = [one for one in asked if change.done_at_s <= one.sent_at_s <= after.asked_at_s and one.version]
        of_canary = {one.text for one in within if one.version == change.canary}
        every = {one.text for one in within}
        share = round(len(of_canary) / len(every), 3) if every else None
        found.append({"weight": change.weight, "conversations": len(every), "share": share})
    return found


def _shown(change: Change, begin_s: float) -> dict[str, Any]:
    return asdict(change) | {
        "asked_at_s": round(change.asked_at_s - begin_s, 2),
        "done_at_s": round(change.done_at_s - begin_s, 2),
    }


def show(result: dict[str, Any]) -> None:
    """The tables for people."""
    table = Table("at s", "change", "took s", "live", "canary", "weight")
    for one in result["log"]:
        took_s = f"{one['done_at_s'] - one['asked_at_s']:.2f}"
        table.add_row(
            f"{one['done_at_s']:.1f}", one["what"], took_s, one["live"] or "", one["canary"] or "", f"{one['weight']:g}"
        )
    console = Console()
    console.print(table)
    console.print(
        f"{result['answered']} answered, {result['absent']} rightly absent, {result['failed']} failed, "
        f"{result['misversioned']} of a wrong version {result['wrong']}; {result['changes']} changes."
    )
    for problem in result["problems"]:
        console.print(problem, markup=False)


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less time between changes; under 8 minutes")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "lifecycle.json", help="where figures go")
    args = parser.parse_args()
    result: dict[str, Any] = {"bench": "lifecycle", "machine": machine.describe("ray", "torch", "peft")}
    with tempfile.TemporaryDirectory(prefix="headrace-lifecycle-") as folder:
        result |= measure(QUICK if args.quick else FULL, Path(folder))
    show(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    sys.exit(1 if result["failed"] or result["misversioned"] else 0)


if __name__ == "__main__":
    main()
