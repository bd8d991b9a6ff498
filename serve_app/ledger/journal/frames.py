"""Frames: a length, a checksum, a kind and a payload; and how far a file of them can be trusted.

    segment   magic (8 bytes)   position of its first byte in the whole journal (8)   frame   frame   ...   zeros
    frame     payload length (4)   CRC-32 of kind and payload (4)   kind (1)   payload

A position counts bytes over all segments and never goes back, so that one number says how far the ledger is. What
follows the last frame is zeros, because a segment is allocated whole; anything else is damage: a frame half written
when its process died, or a disk that lost a page. Nothing behind damage is trusted within that segment.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

MAGIC = b"HEADRJ1\n"
PREFIX = struct.Struct("<8sQ")
_HEADER = struct.Struct("<IIB")
_POSITION = struct.Struct("<Q")
_CHUNK_BYTES = 1 << 16


class Kind(IntEnum):
    """What a payload is."""

    BEGIN = 1
    """An `Opening`, in JSON."""
    END = 2
    """A priced `Answer`, in JSON."""
    SETTLED = 3
    """A position: the ledger has every END that lies before it."""
    GONE = 4
    """A query id: its account will not come, or went to the ledger past the journal."""


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it lies in the journal; `start` and `stop` are positions, `stop` behind its last byte."""

    kind: Kind
    payload: bytes
    start: int
    stop: int


def pack(kind: Kind, payload: bytes) -> bytes:
    """The frame's bytes.

    >>> len(pack(Kind.END, b"{}"))
    11
    """
    return _HEADER.pack(len(payload), _checksum(kind, payload), kind) + payload


def pack_position(position: int) -> bytes:
    """Payload of a SETTLED frame."""
    return _POSITION.pack(position)


def unpack_position(payload: bytes) -> int:
    """The reverse of `pack_position`; raises struct.error for another length."""
    position: int = _POSITION.unpack(payload)[0]
    return position


class SegmentReader:
    """Reads one segment, also while its owner appends to it. `base` is None where the segment has no valid start."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be opened or read."""
        self.path = path
        self.damaged_at: int | None = None
        """Offset in the file of the first byte that cannot be trusted; set when `frames` has come to it."""
        with path.open("rb") as file:
            magic, base = PREFIX.unpack(file.read(PREFIX.size).ljust(PREFIX.size, b"\0"))
        self.base: int | None = base if magic == MAGIC else None

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Whole frames from position `start` on (one that a frame begins at, or one before the segment)."""
        num_bytes = self.path.stat().st_size
        with self.path.open("rb") as file:
            base, offset = self.base, 0
            if base is not None:
                offset = max(PREFIX.size, start - base)
                file.seek(offset)
                while len(header := file.read(_HEADER.size)) == _HEADER.size:
                    length, checksum, kind = _HEADER.unpack(header)
                    if not kind or offset + _HEADER.size + length > num_bytes:
                        break
                    payload = file.read(length)
                    if len(payload) < length or checksum != _checksum(kind, payload) or kind not in _KINDS:
                        break
                    stop = offset + _HEADER.size + length
                    yield Frame(Kind(kind), payload, base + offset, base + stop)
                    offset = stop
            file.seek(offset)
            while chunk := file.read(_CHUNK_BYTES):
                if chunk.strip(b"\0"):
                    self.damaged_at = offset
                    return


def _checksum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(bytes((kind,))))
