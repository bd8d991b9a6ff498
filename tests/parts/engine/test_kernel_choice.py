"""Which kernels an engine gets, and how they are built: without a compiler, by several at once, again."""

import logging
import shutil
import threading
from pathlib import Path

import pytest
import torch

from serve_app.core import ConfigError
from serve_app.engine.kernels import build as building
from serve_app.engine.kernels import choose_kernels
from serve_app.engine.kernels.build import CannotBuild, build

CPU = torch.device("cpu")
FINE = {"dtype": torch.float32, "device": CPU, "widths": {96, 80, 32, 16}, "head_dim": 32}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"widths": {96, 50, 40}}, "vectors of 40 numbers, no multiple of 16"),
        ({"head_dim": 160}, "heads have 160 numbers, and the kernels know 32, 64, 96, 128, 256"),
        ({"dtype": torch.float16}, r"bfloat16 and float32, not torch\.float16"),
        ({"device": torch.device("meta")}, "for CPUs and the device is meta"),
    ],
)
def test_model_that_the_native_kernels_cannot_run_is_run_by_plain_ones_or_refused_with_the_reason(
    odd, reason, kernel_folder
):
    assert choose_kernels("auto", **{**FINE, **odd}, folder=kernel_folder).name == "plain"
    with pytest.raises(ConfigError, match=f"kernels = native cannot be had here: .*{reason}"):
        choose_kernels("native", **{**FINE, **odd}, folder=kernel_folder)


def test_names_give_what_they_say(kernel_folder):
    assert choose_kernels("plain", **FINE, folder=kernel_folder).name == "plain"
    assert choose_kernels("native", **FINE, folder=kernel_folder).name == "native"
    assert choose_kernels("auto", **FINE, folder=kernel_folder).name == "native"


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def broken_compiler(monkeypatch, tmp_path):
    script = tmp_path / "c++"
    script.write_text('#!/bin/sh\necho "unknown flag -march=native" >&2\nexit 1\n')
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))


@pytest.fixture
def missing_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "/no/such/compiler")


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no_compiler", "no C[+][+] compiler was found"),
        ("broken_compiler", "failed: unknown flag -march=native"),
        ("missing_compiler", "/no/such/compiler cannot be run"),
    ],
)
def test_without_a_compiler_that_works_auto_warns_and_native_is_refused(request, tmp_path, caplog, compiler, reason):
    request.getfixturevalue(compiler)
    with caplog.at_level(logging.WARNING):
        assert choose_kernels("auto", **FINE, folder=tmp_path / "kernels").name == "plain"
    assert len(caplog.records) == 1 and "without its own CPU kernels" in caplog.text
    with pytest.raises(ConfigError, match=f"cannot be had here: .*{reason}"):
        choose_kernels("native", **FINE, folder=tmp_path / "kernels")
    assert not list(tmp_path.glob("kernels/*")), "a build that failed leaves nothing"


def test_plain_kernels_need_no_compiler_and_no_warning(no_compiler, tmp_path, caplog):
    assert choose_kernels("plain", **FINE, folder=tmp_path).name == "plain"
    assert not caplog.records


def test_folder_that_cannot_be_written_is_as_no_compiler(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert choose_kernels("auto", **FINE, folder=tmp_path / "file" / "kernels").name == "plain"
    assert "without its own CPU kernels" in caplog.text


def test_builds_at_the_same_time_end_in_one_whole_library(monkeypatch, tmp_path):
    together = threading.Barrier(3, timeout=30)

    def compile_slowly(command):
        together.wait()  # all are at work before any is done
        Path(command[command.index("-o") + 1]).write_bytes(b"library")

    monkeypatch.setattr(building, "_run", compile_slowly)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(build(tmp_path / "kernels"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert list((tmp_path / "kernels").iterdir()) == found[:1] and found[0].read_bytes() == b"library"


def test_library_is_built_once_and_then_needs_no_compiler(monkeypatch, tmp_path):
    commands = []

    def compile_(command):
        commands.append(command)
        Path(command[command.index("-o") + 1]).write_bytes(b"library")

    monkeypatch.setattr(building, "_run", compile_)
    monkeypatch.setenv("CXX", "ccache g++")
    first = build(tmp_path)
    assert [command[:2] for command in commands] == [["ccache", "g++"]]
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    assert build(tmp_path) == first and len(commands) == 1


@pytest.mark.parametrize("name", sorted(path.name for path in building.SOURCE.parent.glob("*.[ch]*")))
def test_library_is_built_anew_when_any_file_of_its_source_changes(monkeypatch, tmp_path, name):
    monkeypatch.setattr(
        building, "_run", lambda command: Path(command[command.index("-o") + 1]).write_bytes(b"library")
    )
    folder = shutil.copytree(building.SOURCE.parent, tmp_path / "source")
    monkeypatch.setattr(building, "SOURCE", folder / building.SOURCE.name)
    before = build(tmp_path / "kernels")
    with (folder / name).open("a") as file:
        file.write("// changed\n")
    assert build(tmp_path / "kernels") != before


def test_compiler_that_hangs_is_given_up(monkeypatch, tmp_path):
    script = tmp_path / "c++"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setattr(building, "_TIMEOUT_S", 0.1)
    with pytest.raises(CannotBuild, match=r"cannot be run: .*timed out"):
        build(tmp_path / "kernels")
