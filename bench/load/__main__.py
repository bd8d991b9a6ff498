"""Load on a server from the command line: `python -m bench.load --url http://127.0.0.1:8000 --rate 20`.

    --find-max          step the rate up until fewer than 99 % are answered within the SLO
    --soak SECONDS      one rate for long: latencies of the first and the last quarter side by side
    --trace FILE        send as in a trace, a time in seconds on each line

Prints a table and writes everything to --json. Latencies count from the time at which a request was to be sent.
"""

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.load import Ask, OpenLoop, Outcomes, Schedule, Slo, constant, poisson, recorded, summarise
from bench.load.client import MAX_OPEN
from bench.load.find import find_max

_PAUSE_S = 2.0
"""Between two rates, for what is still queued to end."""


def main() -> None:
    """Ask, print, write."""
    wanted = _arguments()
    figures = asyncio.run(_measure(wanted))
    _show(figures)
    if wanted.json:
        wanted.json.write_text(json.dumps({"machine": machine.describe("aiohttp"), **figures}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, action="append", help="of the server; several are asked in turn")
    parser.add_argument("--rate", type=float, default=10, help="requests a second; with --find-max the first one tried")
    parser.add_argument("--seconds", type=float, default=30, help="how long each rate is offered")
    parser.add_argument("--even", action="store_true", help="evenly spaced; default: at random (Poisson)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="auto")
    parser.add_argument(
        "--prompts", type=Path, help='JSONL with a "text" each, asked in turn; default: short questions'
    )
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--stream-share", type=float, default=1.0, help="from 0 to 1")
    parser.add_argument("--tier", choices=["flex", "default", "priority"])
    parser.add_argument("--key-variable", default="HEADRACE_KEY", help="environment variable that holds the key")
    parser.add_argument("--slo-first-text", type=float, default=2.0, help="seconds to the first text")
    parser.add_argument("--slo-total", type=float, help="seconds to the end; default: no bound")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each request")
    parser.add_argument("--max-open", type=int, default=MAX_OPEN, help="requests at once")
    parser.add_argument("--json", type=Path)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--find-max", action="store_true")
    how.add_argument("--soak", type=float, metavar="SECONDS")
    how.add_argument("--trace", type=Path)
    wanted = parser.parse_args()
    if wanted.rate <= 0 or wanted.seconds <= 0 or not 0 <= wanted.stream_share <= 1:
        parser.error("--rate and --seconds have to be above 0, and --stream-share from 0 to 1")
    return wanted


async def _measure(wanted: argparse.Namespace) -> dict[str, Any]:
    slo = Slo(wanted.slo_first_text, wanted.slo_total)
    if wanted.find_max:

        async def offer(rate: float) -> dict[str, Any]:
            await asyncio.sleep(_PAUSE_S)
            return summarise(await _run(wanted, _schedule(wanted, rate, wanted.seconds)), slo)

        best, steps = await find_max(offer, wanted.rate)
        return {"max_rate_per_s": round(best, 2), "steps": [asdict(step) for step in steps]}
    if wanted.soak:
        outcomes = await _run(wanted, _schedule(wanted, wanted.rate, wanted.soak))
        return summarise(outcomes, slo) | {"quarters": _quarters(outcomes, slo)}
    if wanted.trace:
        schedule = recorded(float(line) for line in wanted.trace.read_text().split())
    else:
        schedule = _schedule(wanted, wanted.rate, wanted.seconds)
    return summarise(await _run(wanted, schedule), slo)


def _schedule(wanted: argparse.Namespace, rate: float, seconds: float) -> Schedule:
    return constant(rate, seconds) if wanted.even else poisson(rate, seconds, wanted.seed)


async def _run(wanted: argparse.Namespace, schedule: Schedule) -> Outcomes:
    common: dict[str, Any] = {
        "model": wanted.model,
        "max_tokens": wanted.max_tokens,
        "tier": wanted.tier,
        "key": os.environ.get(wanted.key_variable),
    }
    if wanted.prompts:
        prompts = [json.loads(line)["text"] for line in wanted.prompts.read_text().splitlines() if line.strip()]
        common["text"] = lambda number: prompts[number % len(prompts)]
    asks = [
        Ask(stream=stream, weight=weight, **common)
        for stream, weight in ((True, wanted.stream_share), (False, 1 - wanted.stream_share))
    ]
    return await OpenLoop(wanted.url, schedule, asks, wanted.seed, wanted.timeout, wanted.max_open).run()


def _quarters(outcomes: Outcomes, slo: Slo) -> list[dict[str, Any]]:
    """The first and the last quarter: a server that leaks or falls behind is slower in the last."""
    quarter_s = outcomes.seconds / 4
    found = []
    for begin_s in (0.0, 3 * quarter_s):
        part = tuple(one for one in outcomes.all if begin_s <= one.intended_s < begin_s + quarter_s)
        figures = summarise(Outcomes(part, quarter_s, outcomes.began_at_s + begin_s), slo)
        found.append({"from_s": begin_s, **{name: figures[name] for name in ("answered", "first_text_ms", "total_ms")}})
    return found


def _show(figures: dict[str, Any]) -> None:
    table = Table(
        "offered/s", "answered/s", "429", "failed", "within SLO/s", "first text p50", "p99", "total p50", "p99"
    )
    for one in [step["figures"] for step in figures["steps"]] if "steps" in figures else [figures]:
        failed = one["failed_before_first_text"] + one["failed_after_first_text"]
        first, total = one["first_text_ms"], one["total_ms"]
        table.add_row(
            *(str(value) for value in (one["offered_per_s"], one["answered_per_s"], one["refused"], failed)),
            str(one["goodput_per_s"]),
            *(f"{times.get(name, float('nan')):.0f} ms" for times in (first, total) for name in ("p50", "p99")),
        )
        if not one["open_loop"]:
            table.caption = f"{one['capped']} requests waited for a place (--max-open): this was no open loop."
    console = Console()
    console.print(table)
    for quarter in figures.get("quarters", ()):
        console.print(f"from {quarter['from_s']:.0f} s: first text {quarter['first_text_ms']}")
    if "max_rate_per_s" in figures:
        console.print(f"sustained: {figures['max_rate_per_s']} requests/s")
    print(json.dumps({name: value for name, value in figures.items() if name not in ("steps", "by_second")}))


if __name__ == "__main__":
    main()
