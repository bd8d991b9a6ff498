"""What stands between Ray Serve and HAProxy: Serve's own template is rewritten, and a dying gateway is not seen."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from serve_app.deployments import haproxy
from serve_app.deployments.switches import RETRY_BYTES, every_node

SMALL, LARGE = b"x" * (RETRY_BYTES // 2), b"x" * (2 * RETRY_BYTES)


def serve_configuration(folder: Path, *gateways: int) -> Path:
    """What Serve writes for gateways on these ports, with our switches. The front listens on `front.sock`."""
    switches = every_node()
    config = HAProxyConfig(
        socket_path=str(folder / "a.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        nbthread=1,
        stats_port=free_port(),
        metrics_port=free_port(),
        metrics_enabled=False,
        log_target=str(folder / "l.sock"),
        retry_on=switches["RAY_SERVE_HAPROXY_RETRY_ON"],
        retries=int(switches["RAY_SERVE_HAPROXY_RETRIES"]),
        bufsize=int(switches["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]),
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
        observe_error_limit=int(switches["RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT"]),
        timeout_connect_s=int(switches["RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S"]),
        balance_algorithm="roundrobin",
    )
    servers = [ServerConfig(name=f"g{port}", host="127.0.0.1", port=port) for port in gateways]
    backend = BackendConfig(name="app", path_prefix="/", servers=servers, protocol=RequestProtocol.HTTP)
    file = folder / "haproxy.cfg"
    HAProxyApi(config, {"app": backend}, str(file))._generate_config_file_internal()
    return file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, haproxy.__file__, *arguments]
    environment = os.environ | {"RAY_SERVE_HAPROXY_BINARY_PATH": sys.executable}  # as in Serve: not HAProxy itself
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_ray_s_template_has_every_line_that_is_rewritten_and_haproxy_takes_the_result(tmp_path: Path) -> None:
    file = serve_configuration(tmp_path, 1, 2)
    done = run("-c", "-f", str(file))
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in file.read_text().splitlines()]
    binds = [line.removeprefix("bind ") for line in lines if line.startswith("bind ")]
    assert len(binds) == 3
    assert all(bind.startswith("127.0.0.1:") for bind in binds)
    assert "option http-buffer-request" in lines
    assert not any("500.http" in line for line in lines)


def test_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    file = serve_configuration(tmp_path, 1)
    run("-c", "-f", str(file))
    once = file.read_text()
    assert run("-c", "-f", str(file)).returncode == 0
    assert file.read_text() == once


@pytest.mark.parametrize("line", ["bind :", "bind *:", "option abortonclose", "errorfile 503"])
def test_a_template_that_lacks_a_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    file = serve_configuration(tmp_path, 1)
    file.write_text("".join(one for one in file.read_text().splitlines(keepends=True) if line not in one))
    done = run("-c", "-f", str(file))
    assert done.returncode == 1
    assert "0 lines of Serve's HAProxy configuration fit" in done.stderr


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    done = run("-c", "-f", str(tmp_path / "absent.cfg"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_error_has_openai_s_shape_and_says_when_to_come_back(status: int) -> None:
    header, body = haproxy.error_answer(status).split("\r\n\r\n")
    assert header.startswith(f"HTTP/1.1 {status} ")
    assert f"content-length: {len(body)}" in header
    assert "retry-after: 1" in header
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


class Gateway:
    """Says 200, or dies when it has read the whole request; `words`: what it has sent by then."""

    def __init__(self, words: bytes | None = None) -> None:
        self._words, self.num_asked = words, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if "content-length: " in header:
            await reader.readexactly(int(header.split("content-length: ")[1].split()[0]))
        if header.startswith("get"):  # HAProxy asks how it is
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()
            return
        self.num_asked += 1
        if self._words is None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            writer.close()
            return
        writer.write(self._words)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def behind_haproxy(folder: Path, *gateways: Gateway) -> AsyncGenerator[httpx.AsyncClient]:
    servers = [await asyncio.start_server(gateway, "127.0.0.1", 0, limit=2**22) for gateway in gateways]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    file = serve_configuration(folder, *ports)
    front = next(line.split()[1] for line in file.read_text().splitlines() if "bind 127.0.0.1" in line)
    process = await asyncio.create_subprocess_exec(
        sys.executable, haproxy.__file__, "-db", "-f", str(file), stderr=DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{front}", timeout=30) as client:
            await until_it_answers(client)
            yield client
    finally:
        process.kill()
        await process.wait()
        for server in servers:
            server.close()


async def until_it_answers(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.get("/-/routes")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


async def in_pieces(body: bytes) -> AsyncGenerator[bytes]:
    """The header goes first, alone, as many clients send it."""
    yield body[:1]
    await asyncio.sleep(0.05)
    yield body[1:]


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await client.post("/v1", content=in_pieces(body), headers={"content-length": str(len(body))})


async def test_a_query_whose_gateway_dies_before_its_first_word_goes_to_another(tmp_path: Path) -> None:
    dying, other = Gateway(words=b""), Gateway()
    async with behind_haproxy(tmp_path, dying, other) as client:
        answers = [await post(client, SMALL) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert dying.num_asked
    assert other.num_asked == 4


async def test_a_query_that_kills_its_gateway_kills_three_at_most(tmp_path: Path) -> None:
    gateways = [Gateway(words=b"") for _ in range(5)]
    async with behind_haproxy(tmp_path, *gateways) as client:
        answer = await post(client, SMALL)
    assert answer.status_code == 502
    assert sum(gateway.num_asked for gateway in gateways) == 3


async def test_what_a_client_has_begun_to_read_is_not_asked_again(tmp_path: Path) -> None:
    dying, other = Gateway(words=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Gateway()
    async with behind_haproxy(tmp_path, dying, other) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in range(2):
                await post(client, SMALL)
    assert dying.num_asked == 1
    assert other.num_asked <= 1


async def test_a_request_above_the_buffer_is_not_sent_twice_and_fails_in_openai_s_shape(tmp_path: Path) -> None:
    async with behind_haproxy(tmp_path, Gateway(words=b"")) as client:
        answer = await post(client, LARGE)
    assert answer.status_code == 502
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == "gateway_lost"


async def test_without_a_gateway_the_client_is_told_to_come_back(tmp_path: Path) -> None:
    async with behind_haproxy(tmp_path) as client:
        answer = await post(client, SMALL)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "no_gateway"
