"""A PostgreSQL of one's own: a cluster in a folder, on a free loopback port, gone when it is closed.

Needs the server's programs, which `apt-get install postgresql` brings; used by benches and tests. A server does not run
as root, so root starts it as the user `postgres`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_PROGRAMS = Path("/usr/lib/postgresql")
_OWNER = "postgres"


def server_programs() -> Path | None:
    """The folder of the newest server's programs; None where there is none, or nobody to run it."""
    if os.geteuid() == 0 and not any(user.pw_name == _OWNER for user in pwd.getpwall()):
        return None
    found = [path.parent for path in _PROGRAMS.glob("*/bin/pg_ctl")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("pg_ctl")
    return None if on_path is None else Path(on_path).resolve().parent


class Cluster:
    """One server. `durable` keeps its fsync, which tests need not pay for."""

    def __init__(self, programs: Path, folder: Path, *, durable: bool = True) -> None:
        """Makes the cluster in an empty folder; `start` starts it. Raises CalledProcessError."""
        self._programs, self._data, self._durable = programs, folder / "data", durable
        self._log = folder / "server.log"
        self.port = _free_port()
        if os.geteuid() == 0:
            shutil.chown(folder, _OWNER)
        self._run(
            "initdb", "-D", str(self._data), "-U", _OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
        )

    def url(self, database: str = "postgres") -> str:
        """For `ledger.url`."""
        return f"postgresql://{_OWNER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns when it takes connections; on the same port after each stop. Raises CalledProcessError."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories='' -c max_connections=60"
        if not self._durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), "-w", "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """`fast` breaks connections off, `immediate` is as good as a crash. Returns when the server has ended."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", how, "stop")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database, dropped in the end."""
        name = f"headrace_{uuid4().hex}"
        self._sql(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _sql(self, command: str) -> None:
        client = ("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", _OWNER, "-d", "postgres", "-q", "-c", command)
        self._run(*client)

    def _run(self, program: str, *arguments: str) -> None:
        """As the user that may; a server's output goes to its log, for a pipe would wait for its end."""
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _OWNER, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


@contextmanager
def private_cluster(*, folder: Path | None = None, durable: bool = True) -> Iterator[Cluster]:
    """A running server in a temporary folder, stopped and deleted in the end. Raises FileNotFoundError without one."""
    programs = server_programs()
    if programs is None:
        raise FileNotFoundError("there are no PostgreSQL server programs; apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", dir=folder, ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        cluster = Cluster(programs, Path(made), durable=durable)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
