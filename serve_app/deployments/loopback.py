"""Keeps a replica off the network when its Ray node is on loopback.

A replica serves calls of other deployments on a gRPC port of its own, which Ray 2.60 always binds to all interfaces and
on which it unpickles what arrives. On one machine nobody outside may reach it. There is no setting for the address,
so the function that binds it is wrapped; `tests/ray/test_sockets.py` fails when this no longer takes effect.
"""

from typing import Any

import ray
from ray.serve._private import replica

LOOPBACK = "127.0.0.1"

_add_port = replica.add_port_to_grpc_server


def _add_loopback_port(server: Any, address: str) -> int:
    """Bind the port of `address` on loopback. Returns the port that was given."""
    port: int = _add_port(server, f"{LOOPBACK}:{address.rpartition(':')[2]}")
    return port


def bind_to_node() -> None:
    """Call in every deployment's constructor: Serve opens the port afterwards. A cluster's nodes are left alone."""
    if ray.util.get_node_ip_address() == LOOPBACK:
        replica.add_port_to_grpc_server = _add_loopback_port
