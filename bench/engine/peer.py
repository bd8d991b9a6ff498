"""Other engines, each in an environment of its own, asked to measure when their turn comes (bench/peers)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine.material import Material

_SCRIPTS = Path(__file__).resolve().parent.parent / "peers"


class Peer:
    """A process that waits for its turn and takes no core meanwhile. Raises RuntimeError when it cannot measure."""

    def __init__(self, name: str, python: Path, arguments: Sequence[str], folder: Path) -> None:
        self.name = name
        self._log = (folder / f"{name}.log").open("w")
        command = [str(python), str(_SCRIPTS / f"{name}_peer.py"), *arguments, "--on-request"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.facts = self._answer()

    @classmethod
    def vllm(cls, python: Path, material: Material, rows: Sequence[int], threads: int, folder: Path) -> Peer:
        """Base, and adapters rotating over the rows."""
        dtype = str(material.dtype).removeprefix("torch.")
        adapters = ["--adapters", *(str(adapter.path) for adapter in material.adapters)]
        model = ["--model", str(material.path), "--dtype", dtype, "--ways", "base,mixed"]
        return cls("vllm", python, [*model, *adapters, *_common(material, rows, threads, folder)], folder)

    @classmethod
    def llama_cpp(cls, python: Path, gguf: Path, material: Material, threads: int, folder: Path) -> Peer:
        """Base at one row, on the file's own quantised weights."""
        model = ["--model", str(gguf), "--dtype", "file"]
        return cls("llama_cpp", python, [*model, *_common(material, [1], threads, folder)], folder)

    def rates(self) -> dict[str, dict[str, float]]:
        """Way -> batch size -> decode tokens per second, measured now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        rates: dict[str, dict[str, float]] = self._answer()["rates"]
        return rates

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = Path(self._log.name).read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"the peer {self.name} ended with {self._process.wait()}: {log}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _common(material: Material, rows: Sequence[int], threads: int, folder: Path) -> list[str]:
    prompts = folder / "prompts.json"
    prompts.write_text(json.dumps(material.prompts(max(rows), seed=0)))
    sizes = ",".join(map(str, rows))
    return f"--prompts {prompts} --rows {sizes} --steps {material.steps} --threads {threads}".split()
