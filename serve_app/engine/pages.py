"""Large pages for memory that every step reads from end to end: fewer of its addresses have to be looked up."""

from __future__ import annotations

import ctypes
import mmap

_PAGE_BYTES = 1 << 21
"""A large page of x86-64, and of arm64 with small pages of 4 KiB."""
_COLLAPSE = 25
"""MADV_COLLAPSE: now, in place of some time later (Linux 6.1 and newer)."""


def use_large_pages(address: int, num_bytes: int) -> None:
    """Ask for large pages under a stretch of memory that is written; what shares its first and last page gets them too.

    Without effect where the system has none or refuses. Nothing is moved as far as the process can see.
    """
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is None or not num_bytes:
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    first = address // _PAGE_BYTES * _PAGE_BYTES
    for page in range(first, address + num_bytes, _PAGE_BYTES):  # one by one: a hole refuses all that is asked at once
        if madvise(page, _PAGE_BYTES, advice) == 0:
            madvise(page, _PAGE_BYTES, _COLLAPSE)
