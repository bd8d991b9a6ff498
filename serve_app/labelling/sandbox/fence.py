"""What the kernel keeps an answer process from: limits, and namespaces where it has them.

In the examiner only. The answer process never loads this module: whoever has `ctypes` can write to any address.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 16384, 1 << 18
_AT_RECURSIVE, _SYS_MOUNT_SETATTR = 0x8000, 442
_CAPABILITIES = 0x20080522  # version 3 of the call's header
_LINUX = sys.platform == "linux"

NAMESPACES = ("user", "network", "process", "ipc", "mount")
"""What a whole fence has."""


def separate(folder: str, disk_bytes: int) -> list[str]:
    """Put this process, and what it forks from now on, into namespaces of their own; returns those in effect.

    The next fork becomes the first process of its own process namespace: it sees no other process, and when it ends
    all that it started ends with it. No network but a loopback that is down; all files read-only, except for an empty
    file system of `disk_bytes` at `folder`, which vanishes with the process.
    """
    if not _LINUX:
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_NEWUSER | _NEWNET | _NEWPID | _NEWIPC) != 0:
        return []
    mapped = _map_ids(uid, gid)
    return list(NAMESPACES if mapped and _read_only(libc, folder, disk_bytes) else NAMESPACES[:-1])


def hide() -> None:
    """Keep processes of the same user from reading this one's memory and descriptors."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine(timeout_s: float, memory_bytes: int, disk_bytes: int) -> None:
    """Limits and lost privileges of this process and of what it becomes; it dies with its parent. Cannot be undone."""
    if _LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)())
    limits = {
        resource.RLIMIT_CPU: math.ceil(timeout_s),
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: disk_bytes,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except (ValueError, OSError):
            if kind != resource.RLIMIT_AS:  # which macOS does not have
                raise


def _map_ids(uid: int, gid: int) -> bool:
    """Whether this user could be made the root of its own namespace, who may mount; some kernels forbid it."""
    try:
        for name, content in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
                file.write(content)
    except OSError:
        return False
    return True


def _read_only(libc: ctypes.CDLL, folder: str, disk_bytes: int) -> bool:
    """Whether everything but `folder` could be made read-only."""
    if libc.unshare(_NEWNS) != 0 or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return False
    attributes = (ctypes.c_uint64 * 4)(_MS_RDONLY | _MS_NOSUID, 0, 0, 0)
    call = (_SYS_MOUNT_SETATTR, -1, b"/", _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    if libc.syscall(*call) != 0:
        return False
    flags, options = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, f"size={disk_bytes},mode=700".encode()
    if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, options) != 0:
        return False
    os.chdir(folder)
    return True
