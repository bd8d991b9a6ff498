"""Nothing that the running demo starts can be reached from outside this machine."""

import ipaddress
import socket

import httpx
import psutil
import pytest
from launching import Served


def open_sockets(processes: list[psutil.Process]) -> dict[tuple[str, int, str], str]:
    """(address, port, kind) -> process, of every TCP socket that listens and every UDP socket that is bound."""
    found = {}
    for process in processes:
        try:
            connections, name = process.net_connections(kind="inet"), " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue  # a worker that ended meanwhile listens no more
        for connection in connections:
            is_udp = connection.type == socket.SOCK_DGRAM
            if is_udp or connection.status == psutil.CONN_LISTEN:
                kind = "udp" if is_udp else "tcp"
                found[(connection.laddr.ip, connection.laddr.port, kind)] = name
    return found


def is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


@pytest.mark.parametrize("graph", ["scripted", "production"])
def test_every_socket_of_every_process_is_bound_to_loopback(graph: str, request: pytest.FixtureRequest) -> None:
    served: Served = request.getfixturevalue(graph)
    sockets = open_sockets(served.processes())
    names = " ".join(sockets.values())
    for program in ("gcs_server", "raylet", "haproxy", "Gateway", "Specialists", "Ledger", "ServeController"):
        assert program in names, f"the walk over the processes missed {program}"
    outside = {address: name for address, name in sockets.items() if not is_loopback(address[0])}
    assert not outside


def test_the_gateway_itself_cannot_be_reached_by_the_machine_s_other_address(scripted: Served) -> None:
    addresses = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET and not is_loopback(entry.address)
    ]
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    for address in addresses:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{address}:{httpx.URL(scripted.url).port}/healthz", trust_env=False)
