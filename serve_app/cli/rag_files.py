"""Which files `headrace rag ingest` sends, under which names, and how many at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import typer

from serve_app.core.texts import is_unicode

READ = (".txt", ".md", ".markdown", ".rst", ".html", ".htm", ".pdf")
"""What is taken of a folder; a file that is named itself is sent whatever it is called."""
_BATCH_FILES = 32
_BATCH_BYTES = 4_000_000


def named_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Name -> file. Of a folder all that can be read, hidden ones left out, named from the folder's own name on.

    So a file has the same name wherever the command runs, and a second run replaces what the first one sent. Raises
    typer.BadParameter for a path that is not there, two files of one name, and where there is nothing to send.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path} is not there; name files and folders.")
        for name, file in _of_folder(path) if path.is_dir() else [(path.name, path)]:
            if name in found:
                raise typer.BadParameter(
                    f"{found[name]} and {file} would both be {name!r}; send them into collections of their own."
                )
            if not is_unicode(name):
                raise typer.BadParameter(f"the name of {str(file)!r} is not valid UTF-8; rename the file.")
            found[name] = file
    if not found:
        raise typer.BadParameter(f"There is nothing to send: folders hold no {', '.join(READ)}.")
    return found


def _of_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """Raises OSError for a folder inside that cannot be looked into; hidden ones are not."""
    whole = folder.resolve()
    files = []
    for at, folders, names in os.walk(whole, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(at) / name for name in names if not name.startswith(".")]
    for file in sorted(files):
        if file.suffix.lower() in READ and file.is_file():
            yield (Path(whole.name) / file.relative_to(whole)).as_posix(), file


def _raise(error: OSError) -> None:
    raise error


def batches(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """A few files at a time; one that is large goes alone."""
    batch: dict[str, Path] = {}
    num_bytes = 0
    for name, file in files.items():
        size = file.stat().st_size
        if batch and (len(batch) == _BATCH_FILES or num_bytes + size > _BATCH_BYTES):
            yield batch
            batch, num_bytes = {}, 0
        batch[name] = file
        num_bytes += size
    if batch:
        yield batch
