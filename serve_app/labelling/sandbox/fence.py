"""What keeps an answer process to itself: limits, namespaces where the kernel has them, and an audit hook.

Runs in a bare interpreter, before any line of the program does.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from typing import Any

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 1, 2, 4, 16384, 1 << 18
_AT_RECURSIVE, _SYS_MOUNT_SETATTR = 0x8000, 442
_CAPABILITIES = 0x20080522  # version 3 of the call's header
_LINUX = sys.platform == "linux"

_PATHS = (
    *(("open", 0, 1, False), ("import", 1, 2, False), ("glob.glob", 0, 1, False), ("glob.glob/2", 0, 1, False)),
    *(("os.listdir", 0, 1, False), ("os.scandir", 0, 1, False), ("sqlite3.connect", 0, 1, True)),
    *((name, 0, 1, True) for name in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.utime")),
    ("os.rename", 0, 2, True),
)
"""Audit event, which of its arguments are paths (from, to), and whether it changes what lies there."""
_REFUSED = (
    *("subprocess.", "ctypes.", "gc.", "pty.", "syslog.", "urllib.", "webbrowser.", "fcntl.", "resource.prlimit"),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "signal.pthread_kill"),
    *("os.chdir", "os.fchdir", "os.chown", "os.lockf", "os.link", "os.symlink", "os.setxattr", "os.chflags"),
    *("sys.addaudithook", "sys._current_frames", "sys._current_exceptions"),
)
_NATIVE = ("_ctypes", "_dbm", "_gdbm", "_testcapi", "_testinternalcapi", "_xxsubinterpreters", "_interpreters")
"""Modules whose machine code does what the hook would not see."""


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
    names = ["user", "network", "process", "ipc"]
    mapped = _map_ids(uid, gid)
    return [*names, "mount"] if mapped and _read_only(libc, folder, disk_bytes) else names


def hide() -> None:
    """Keep processes of the same user from reading this one's memory and descriptors."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine(timeout_s: float, memory_bytes: int, disk_bytes: int) -> None:
    """Limits and lost privileges of the answer process; it dies with its parent. Cannot be undone."""
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


def watch(folder: str) -> None:
    """Refuse, from here to the end of the process, whatever reaches outside: see `_REFUSED`.

    Files may be read in the interpreter's own folders and `folder`, and changed in `folder`. The hook is one function
    that looks nothing up but its own defaults, which cannot change, and methods of built-in types: whatever the program
    replaces, the hook stays as it is.
    """
    own = (sys.base_prefix, sys.base_exec_prefix, folder)
    may_read = tuple({os.path.realpath(path) + "/" for path in own} | {f"{path.rstrip('/')}/" for path in sys.path})

    def hook(
        event: str,
        args: tuple[Any, ...],
        kind: type = type,
        text: type = str,
        number: type = int,
        denied: type[Exception] = PermissionError,
        writes: int = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND,
        refused: tuple[str, ...] = _REFUSED,
        native: tuple[str, ...] = _NATIVE,
        paths_of: tuple[tuple[str, int, int, bool], ...] = _PATHS,
        may_read: tuple[str, ...] = may_read,
        may_change: tuple[str, ...] = (os.path.realpath(folder) + "/",),
        harmless: tuple[str, ...] = ("/dev/null", "/dev/urandom", "/dev/random", ":memory:"),
    ) -> None:
        if event.startswith(refused) or (event == "import" and args[0] in native):
            raise denied(event)
        if event.startswith("socket.") and (event, args[1:2]) != ("socket.__new__", (1,)):
            raise denied(event)  # local sockets may be made, in pairs: an event loop wakes itself with one
        for name, begin, end, changes in paths_of:
            if event != name:
                continue
            allowed = may_change if changes or (name == "open" and args[2] & writes) else may_read
            for path in args[begin:end]:
                if path is None or kind(path) is number:
                    continue
                if kind(path) is not text or ".." in path.split("/"):
                    raise denied(event)
                if path.startswith("/") and not (path + "/").startswith(allowed) and path not in harmless:
                    raise denied(event)

    sys.addaudithook(hook)


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
    flags, options = _MS_NOSUID | _MS_NODEV, f"size={disk_bytes},mode=700".encode()
    if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, options) != 0:
        return False
    os.chdir(folder)
    return True
