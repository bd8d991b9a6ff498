"""Decode speed of llama.cpp without adapters, run by the Python of an environment that has llama-cpp-python.

    python llama_cpp_peer.py --model FILE.gguf --prompts prompts.json [--rows 1] [--steps 24] [--repeats 1]
                             [--threads 2] [--dtype bfloat16] [--on-request]

llama.cpp has no batch in which rows use different adapters, so only `base` is measured. Tokens per second are counted
once every row has its first token: one llama_decode of all prompts, one decode step that is not timed, then `steps`
steps of one token per row, each a sequence of its own, the next token being the largest logit. The prompts file is a
JSON list of lists of token ids, all of one length; a batch of n takes the first n.

--dtype bfloat16 first writes the GGUF's weights as bf16 into a temporary file, so that the same bytes are read per
step as by an engine that runs bf16; --dtype file takes the file as it is (a quantised one reads fewer bytes).

Prints one JSON line, {"versions": ..., "rates": {"base": {"1": tokens per second}}}, the median of the repeats.
With --on-request nothing is measured until a line comes in: prints {"ready": true}, then one JSON line per line of
input until the input ends, so that a bench can take turns with others on the same machine.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np

LOG_LEVEL_ERROR = 4
"""ggml_log_level's; llama_cpp does not export it."""


class Model:
    """A GGUF model with a context for a number of rows."""

    def __init__(self, path: Path, rows: int, length: int, threads: int) -> None:
        self.model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"{path} cannot be loaded")
        self.vocab_size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        params = lib.llama_context_default_params()
        params.n_ctx = rows * -(-length // 256) * 256  # llama.cpp divides it by the rows and rounds to 256
        params.n_batch = rows * length
        params.n_seq_max = rows
        params.n_threads = params.n_threads_batch = threads
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("no context could be made")
        self.batch = lib.llama_batch_init(rows * length, 0, 1)

    def clear(self) -> None:
        """Forget all rows."""
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)

    def step(self, tokens: Sequence[Sequence[int]], position: int) -> list[int]:
        """Feed each row its tokens, the first at `position`; the next token of each row."""
        last = []
        count = 0
        for row, ids in enumerate(tokens):
            for offset, token in enumerate(ids):
                self.batch.token[count] = token
                self.batch.pos[count] = position + offset
                self.batch.n_seq_id[count] = 1
                self.batch.seq_id[count][0] = row
                self.batch.logits[count] = offset == len(ids) - 1
                count += 1
            last.append(count - 1)
        self.batch.n_tokens = count
        if (status := lib.llama_decode(self.context, self.batch)) != 0:
            raise RuntimeError(f"llama_decode failed with {status}")
        return [self._largest(index) for index in last]

    def _largest(self, index: int) -> int:
        logits = lib.llama_get_logits_ith(self.context, index)
        return int(np.ctypeslib.as_array(logits, shape=(self.vocab_size,)).argmax())


def decode_rate(model: Model, prompts: Sequence[Sequence[int]], steps: int) -> float:
    """Tokens per second over `steps` decode steps."""
    model.clear()
    position = len(prompts[0])
    tokens = model.step(prompts, 0)  # prefill: every row has its first token
    tokens = model.step([[token] for token in tokens], position)  # a decode step that is not timed
    start_s = time.perf_counter()
    for step in range(steps):
        tokens = model.step([[token] for token in tokens], position + 1 + step)
    return len(prompts) * steps / (time.perf_counter() - start_s)


def as_bfloat16(source: Path, folder: Path, threads: int) -> Path:
    """The same weights in bf16; one-dimensional tensors stay float32, as llama.cpp wants them."""
    target = folder / "bfloat16.gguf"
    params = lib.llama_model_quantize_default_params()
    params.ftype = lib.LLAMA_FTYPE_MOSTLY_BF16
    params.allow_requantize = True
    params.nthread = threads
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"{source} cannot be written as bf16")
    return target


def silence() -> Any:
    """Drop llama.cpp's log but for errors; the result must be kept alive."""

    def write(level: int, text: bytes, _: Any) -> None:
        if level == LOG_LEVEL_ERROR:
            sys.stderr.write(text.decode(errors="replace"))

    log = lib.llama_log_callback(write)
    lib.llama_log_set(log, ctypes.c_void_p())
    return log


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="GGUF file")
    parser.add_argument("--prompts", required=True, type=Path, help="JSON list of lists of token ids")
    parser.add_argument("--rows", default="1", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--steps", default=24, type=int)
    parser.add_argument("--repeats", default=1, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "file"))
    parser.add_argument("--on-request", action="store_true", help="measure once per line of standard input")
    return parser.parse_args()


def measure(models: dict[int, Model], prompts: Sequence[Sequence[int]], steps: int, repeats: int) -> dict[str, float]:
    """Median rate by batch size."""
    rates = {}
    for rows, model in models.items():
        found = [decode_rate(model, prompts[:rows], steps) for _ in range(repeats)]
        rates[str(rows)] = round(statistics.median(found), 1)
    return rates


def main() -> None:
    args = parse()
    prompts = json.loads(args.prompts.read_text())
    length = len(prompts[0]) + args.steps + 2
    kept = silence()
    lib.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = args.model if args.dtype == "file" else as_bfloat16(args.model, Path(folder), args.threads)
        models = {rows: Model(path, rows, length, args.threads) for rows in args.rows}
    measure(models, prompts, 2, 1)  # warm-up: the weights are read in
    facts = {
        "versions": {"llama-cpp-python": version("llama-cpp-python")},
        "system": lib.llama_print_system_info().decode().strip(" |"),
        "threads": args.threads,
        "dtype": args.dtype,
    }
    if args.on_request:
        print(json.dumps({"ready": True, **facts}), flush=True)
    for _ in sys.stdin if args.on_request else ["once"]:
        rates = measure(models, prompts, args.steps, args.repeats)
        print(json.dumps({**facts, "rates": {"base": rates}}), flush=True)
    del kept
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's own clean-up at exit would log through a callback that is gone


if __name__ == "__main__":
    main()
