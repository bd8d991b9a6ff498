"""The environment that Ray reads once, when it is imported: speed, loopback, draining, retries. Imports no Ray.

Speed: HAProxy in front, replicas that talk gRPC, user code on the replica's main loop.
Loopback: Ray's own processes follow the node's address, HAProxy's pages are bound by `haproxy`.
Retries: a query whose gateway died before it said anything goes to another one. More: docs/serve-switches.md.
"""

import shlex
import socket
import stat
import sys
from contextlib import ExitStack
from pathlib import Path

from serve_app.deployments import haproxy

DRAIN_S = 1
"""How long an ingress replica goes on taking connections after it was told to stop (Serve's own: 30 s)."""

RETRY_BYTES = 256 * 1024
"""The largest request that can be sent to a second gateway. HAProxy holds a copy of this size per waiting request;
from 1 MiB on, it also costs over half a millisecond of its time each."""


def every_node() -> dict[str, str]:
    """What every node needs, of a cluster too, before its Ray starts.

    Packed, two half-GPU replicas share a GPU; spread (Serve's own way), they would leave no whole one for a fallback.
    """
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # the line before has 1000 lines wait for each other
        "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "2",  # a query that kills who gets it shall not meet them all
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(RETRY_BYTES),
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",  # a gateway that refuses a connection gets no second one
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
        "RAY_worker_niceness": "0",  # Ray's own 15: replicas wait for whatever else a machine does
    }


def one_machine(run_dir: Path) -> dict[str, str]:
    """All switches of `headrace serve`: nothing listens beyond loopback, and no file or port of another Ray is shared.

    `run_dir`: a private folder for sockets, HAProxy's files and logs. Its path has at most 30 characters: that of a
    Unix socket may have 97, and Serve puts a folder of 56 characters between.
    """
    stats_port, metrics_port, fallback_port = (str(port) for port in _free_ports(3))
    return every_node() | {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off, a node's address is loopback, on Linux too
        "RAY_AUTH_MODE": "token",  # whoever may open the port still needs the token in this user's home
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_haproxy_script(run_dir)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(run_dir / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(run_dir / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(run_dir / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(run_dir),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(run_dir / "server-state"),
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(run_dir / "l.sock"),  # nobody listens: no UDP socket
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_STATS_PORT": stats_port,
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics_port,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback_port,
    }


def _haproxy_script(run_dir: Path) -> Path:
    """`headrace-haproxy` for a package that is on the path only, not installed."""
    script = run_dir / "headrace-haproxy"
    command = shlex.join([sys.executable, "-P", haproxy.__file__])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(stat.S_IRWXU)
    return script


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until the last is found, so that they differ."""
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports
