"""vLLM in an environment of its own, asked to measure when its turn comes (bench/peers/vllm_peer.py)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine.material import Material

_SCRIPT = Path(__file__).resolve().parent.parent / "peers" / "vllm_peer.py"


class VllmPeer:
    """A process that waits for its turn and takes no core meanwhile. Raises RuntimeError when it cannot measure."""

    def __init__(self, python: Path, material: Material, rows: Sequence[int], threads: int, folder: Path) -> None:
        prompts = folder / "prompts.json"
        prompts.write_text(json.dumps(material.prompts(max(rows), seed=0)))
        command = [str(python), str(_SCRIPT), "--model", str(material.path), "--prompts", str(prompts)]
        command += ["--adapters", *(str(adapter.path) for adapter in material.adapters)]
        command += ["--rows", ",".join(map(str, rows)), "--steps", str(material.steps), "--threads", str(threads)]
        command += ["--dtype", str(material.dtype).removeprefix("torch."), "--ways", "base,mixed", "--on-request"]
        self._log = (folder / "vllm.log").open("w")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.facts = self._answer()

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
            raise RuntimeError(f"vLLM's peer ended with {self._process.wait()}; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer
