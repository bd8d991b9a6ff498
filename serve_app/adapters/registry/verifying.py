"""What is found out about a new version before an engine sees it: check by check, as it is stored with the version."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from serve_app.adapters.folder import content_digest, load, paired_modules, version_of
from serve_app.adapters.manifest import read_manifest
from serve_app.adapters.peft_config import read_peft_config
from serve_app.adapters.registry.files import Allowance, shown, size_bytes
from serve_app.adapters.registry.records import AdapterVersion
from serve_app.adapters.spec import check_name
from serve_app.adapters.tensors import FILE_NAME as WEIGHTS
from serve_app.adapters.tensors import read_entries
from serve_app.adapters.verification import check_shapes, same_base
from serve_app.catalogue import ModelFiles
from serve_app.core import AdapterError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArtefactLimits:
    """What a version must keep to."""

    max_bytes: int
    max_rank: int
    """The highest that the engines have room for: `specialists.max_adapter_rank`."""
    base_override: bool = False


@dataclass(slots=True)
class _Report:
    """Grows check by check; the first that fails ends it."""

    folder: Path
    checks: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None

    def run(self, name: str, check: Callable[[], T], told: Callable[[T], Any] = lambda found: found) -> T | None:
        """Do one check and return its result, of which `told` is stored; after a failure nothing is done: None."""
        if self.reason is not None:
            return None
        try:
            found = check()
        except AdapterError as error:
            self.reason = str(error).replace(f"{self.folder}/", "")  # a temporary one: it says nothing to anybody
            self.checks.append({"check": name, "passed": False, "found": self.reason})
            return None
        self.checks.append({"check": name, "passed": True, "found": told(found)})
        return found


def verify_artefact(
    folder: Path,
    name: str,
    base: ModelFiles | None,
    limits: ArtefactLimits,
    source: str,
    created_by: str,
    clock: Callable[[], float] = time.time,
) -> AdapterVersion:
    """The version, `verified`, or `rejected` with the sentence as `reason` of its report. Reads the files whole.

    Checks: size, variant, manifest, format, rank, finite, base, shapes. Without a base the last two are not done.
    Raises AdapterError for a name that no adapter may have.
    """
    check_name(name)
    report = _Report(folder)
    report.run("size", lambda: _size(folder, limits.max_bytes))
    config = report.run("variant", lambda: read_peft_config(folder), lambda found: {"lora": True, "r": found.rank})
    report.run("manifest", lambda: read_manifest(folder), lambda found: {"base_digest": found.base_digest})
    report.run("rank", lambda: _rank(folder, limits.max_rank))
    report.run("format", lambda: _modules(folder))
    spec, of_base = report.run("finite", lambda: load(folder, name), lambda _: True), False
    if spec is not None and base is not None:
        of_base = bool(report.run("base", lambda: same_base(spec, base, limits.base_override)))
        report.run("shapes", lambda: check_shapes(spec, base.path), lambda _: True)
    digest = content_digest(folder)
    stored: dict[str, Any] = {"checks": report.checks, "digest": digest}
    if report.reason is not None:
        stored["reason"] = report.reason
    return AdapterVersion(
        name=name,
        version=version_of(digest),
        digest=digest,
        state="verified" if report.reason is None else "rejected",
        source=shown(source),
        rank=0 if config is None else config.rank,
        size_bytes=size_bytes(folder),
        base_verified=of_base,
        created_at_s=clock(),
        created_by=created_by,
        report=stored,
        base_override=limits.base_override,
    )


def _size(folder: Path, max_bytes: int) -> int:
    num_bytes = size_bytes(folder)
    Allowance(max_bytes, "The adapter").take(num_bytes)
    return num_bytes


def _rank(folder: Path, max_rank: int) -> int:
    rank = read_peft_config(folder).rank
    if rank > max_rank:
        raise AdapterError(
            f"The adapter's rank {rank} is over {max_rank}; train a lower one, or raise specialists.max_adapter_rank."
        )
    return rank


def _modules(folder: Path) -> dict[str, int]:
    """How many modules are adapted, and by how many tensors."""
    weights = folder / WEIGHTS
    if not weights.is_file():
        load(folder)  # says what is there in its place
    entries = read_entries(weights)
    modules = paired_modules(weights, entries, read_peft_config(folder).rank)
    return {"modules": len(modules), "tensors": len(entries)}
