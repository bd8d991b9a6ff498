"""Retrieval: how well and how fast passages are found, and what answers gain by them.

    python -m bench.rag [--quick] [--json FILE] [--threads 2]      writes bench/results/rag.json
    python -m bench.rag --only quality --split validation          what choices were made by

The full run trains both adapters first, into `bench/rag/adapters` of the cache folder, and takes those that are there;
`--quick` takes the ones that are committed. Answers are kept in the cache folder too, so that a second run pays for
timing alone. Without the public data (HEADRACE_DATA) it prints why it is skipped. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import machine
from bench.machine import DATA
from bench.rag.kinds import COMMITTED
from bench.readme_figures import documents
from serve_app.catalogue import cache_dir

PARTS = ("retrieval", "scale", "quality")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer questions and chunks, the adapters that are there")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "rag.json", help="where figures go")
    parser.add_argument("--only", choices=PARTS, help="one part; the others' figures stay as they are in the file")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="questions of the table")
    parser.add_argument("--rows", type=int, help="questions of the table")
    parser.add_argument("--beside", type=int, help="of these, for the rows that explain it")
    parser.add_argument("--timed", type=int, help="of these, asked one at a time")
    parser.add_argument(
        "--adapters", type=Path, help="another folder of the adapters, trained where they are not there"
    )
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args(arguments)
    if not (DATA / "medquad").is_dir():
        print(json.dumps({"bench": "rag", "skipped": f"MedQuAD is not at {DATA}: set HEADRACE_DATA."}))
        return
    found: dict[str, Any] = json.loads(wanted.json.read_bytes()) if wanted.only and wanted.json.exists() else {}
    if wanted.only in ("retrieval", "scale") and "quality" in found:
        found.setdefault("quality_machine", found["machine"])
    found |= {"bench": "rag", "quick": wanted.quick, "machine": machine.describe("torch", "onnxruntime", "lancedb")}
    begun_s = time.perf_counter()
    for part in PARTS:
        if wanted.only in (None, part):
            found |= _measure(part, wanted)
    found["seconds"] = round(time.perf_counter() - begun_s, 1)
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if "quality" in found:
        print(documents.table(found))
    print(json.dumps(found))


def _measure(part: str, wanted: argparse.Namespace) -> dict[str, Any]:
    """The figures of one part. Each brings its own libraries, so they are not loaded before."""
    if part != "quality":
        measured: dict[str, Any] = importlib.import_module(f"bench.rag.{part}").measure(wanted.quick)
        return measured
    from bench.rag import quality
    from serve_app.cli.training_progress import use_torch

    use_torch(wanted.threads, "cpu")
    effort = quality.QUICK if wanted.quick else quality.FULL
    told = {name: getattr(wanted, name) for name in ("rows", "beside", "timed")}
    effort = replace(effort, **{name: number for name, number in told.items() if number is not None})
    folder = wanted.adapters or (COMMITTED if wanted.quick else cache_dir() / "bench" / "rag" / "adapters")
    return asyncio.run(quality.measure(DATA, effort, wanted.threads, _say, folder, wanted.split))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
