"""The audit hook of an answer process: refuses what reaches outside, before any line of the program runs.

Stands on two things. Nothing that the program can reach leads here, not even its own frames: see `answer`. And nothing
that can write to an address is in the process or may be loaded: `ctypes`, machine code of the program's own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_PATHS = (
    *(("open", 0, 1, "read"), ("glob.glob", 0, 1, "read"), ("glob.glob/2", 0, 1, "read"), ("import", 1, 2, "load")),
    *(("os.listdir", 0, 1, "read"), ("os.scandir", 0, 1, "read"), ("sqlite3.connect", 0, 1, "change")),
    *((name, 0, 1, "change") for name in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.utime")),
    ("os.rename", 0, 2, "change"),
)
"""Audit event, which of its arguments are paths (from, to), and what is done with what lies there."""
_REFUSED = (
    *("subprocess.", "ctypes.", "gc.", "pty.", "syslog.", "urllib.", "webbrowser.", "fcntl.", "resource.prlimit"),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "signal.pthread_kill"),
    *("os.chdir", "os.fchdir", "os.chown", "os.lockf", "os.link", "os.symlink", "os.setxattr", "os.chflags"),
    *("sys.addaudithook", "sys._current_frames", "sys._current_exceptions"),
)
_NATIVE = (
    *("ctypes", "_ctypes", "_dbm", "_gdbm"),
    *("_testcapi", "_testinternalcapi", "_xxsubinterpreters", "_interpreters"),
)
"""Modules whose machine code does what the hook would not see."""


def watch(folder: str) -> None:
    """Refuse, from here to the end of the process, whatever reaches outside: see `_REFUSED`.

    Files may be read in the interpreter's own folders and `folder`, changed in `folder`, and run as machine code in the
    former. The hook is one function that looks nothing up but its own defaults, which cannot change, and methods of
    built-in types: whatever the program replaces, the hook stays as it is.
    """
    own = {os.path.realpath(path) + "/" for path in (sys.base_prefix, sys.base_exec_prefix)}
    libraries = tuple(own | {f"{path.rstrip('/')}/" for path in sys.path})
    changeable = os.path.realpath(folder) + "/"

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
        paths_of: tuple[tuple[str, int, int, str], ...] = _PATHS,
        may_load: tuple[str, ...] = libraries,
        may_read: tuple[str, ...] = (*libraries, changeable),
        may_change: tuple[str, ...] = (changeable,),
        harmless: tuple[str, ...] = ("/dev/null", "/dev/urandom", "/dev/random", ":memory:"),
    ) -> None:
        if event.startswith(refused) or (
            event == "import" and (kind(args[0]) is not text or args[0].rpartition(".")[2] in native)
        ):
            raise denied(event)
        if event.startswith("socket.") and (event, args[1:2]) != ("socket.__new__", (1,)):
            raise denied(event)  # local sockets may be made, in pairs: an event loop wakes itself with one
        for name, begin, end, use in paths_of:
            if event != name:
                continue
            changes = use == "change" or (name == "open" and args[2] & writes)
            allowed = may_change if changes else may_load if use == "load" else may_read
            for path in args[begin:end]:
                if path is None or kind(path) is number:
                    continue
                if kind(path) is not text or ".." in path.split("/"):
                    raise denied(event)
                inside = (path + "/").startswith(allowed) or (use != "load" and not path.startswith("/"))
                if not inside and path not in harmless:
                    raise denied(event)

    sys.addaudithook(hook)
