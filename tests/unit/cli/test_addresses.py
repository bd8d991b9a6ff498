"""What commands make of a server's address, of a proxy, and of a server that is none of ours."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import typer
from typer.testing import CliRunner

from serve_app.checklist.facts import Server
from serve_app.cli.admin_client import AdminClient
from serve_app.cli.ask import _events
from serve_app.cli.connection import server_root
from serve_app.cli.main import app
from serve_app.core import HeadraceError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that are asked for; each answers with an empty object."""
    pages: list[str] = []

    def request(method: str, url: str, **about: Any) -> httpx.Response:
        pages.append(f"{method} {httpx.URL(url).raw_path.decode()}")
        return httpx.Response(404, json={"error": {"message": "There is none."}})

    monkeypatch.setattr(httpx, "request", request)
    return pages


@pytest.mark.parametrize("name", ["legal#2", "legal?x", "a/b", "50%"])
def test_a_name_names_no_other_adapter(asked: list[str], name: str) -> None:
    for command in (("remove", name), ("promote", name), ("rollback", name), ("pin", name), ("canary", name, "0.1")):
        result = CliRunner().invoke(app, ["adapters", *command])
        assert isinstance(result.exception, HeadraceError)
    assert {page.split()[1] for page in asked} == {f"/v1/adapters/{quote(name, safe='')}"}
    assert len(asked) == 5


@pytest.mark.parametrize("url", ["http://ada:secret@127.0.0.1:9", "http://ada@h/v1"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        server_root(url)
    assert "secret" not in str(caught.value)
    assert CliRunner().invoke(app, ["ask", "hi", "--url", url]).exit_code == 2


def test_an_address_or_a_number_that_is_none_is_a_usage_error(asked: list[str]) -> None:
    assert CliRunner().invoke(app, ["adapters", "canary", "legal", "nan"]).exit_code == 2
    assert server_root("http://[::1:8000") == "http://[::1:8000", "httpx says what is wrong with it"
    assert not asked


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "foo://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(HeadraceError, match="A proxy of the environment cannot be used"):
        AdminClient("http://127.0.0.1:9", None).get("/v1/status")


def test_a_stray_byte_of_the_command_line_is_named(asked: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="not valid UTF-8"):
        AdminClient("http://127.0.0.1:9", None).get("/v1/rag/search", {"q": "x", "collection": "\udcff"})
    assert not asked


@pytest.mark.parametrize(
    "line", ["data: 5", "data: {", 'data: {"choices": []}', 'data: {"choices": [{"delta": {"content": 7}}]}', "<html>"]
)
def test_what_is_no_answer_is_said_to_be_none(line: str) -> None:
    with pytest.raises(HeadraceError, match=r"is it a Headrace server|ended its answer early"):
        list(_events(iter([line])))


@pytest.mark.parametrize("error", ['{"message": "It broke."}', '"It broke."'])
def test_an_error_in_a_stream_is_the_servers_own_sentence(error: str) -> None:
    def lines() -> Iterator[str]:
        yield f'data: {{"error": {error}}}'

    with pytest.raises(HeadraceError, match=r"It broke\."):
        list(_events(lines()))


async def test_a_page_that_fails_is_asked_once() -> None:
    asked = []

    async def page(path: str) -> dict[str, Any]:
        asked.append(path)
        raise HeadraceError("It hangs.")

    server = Server(page)
    for _ in range(3):
        with pytest.raises(HeadraceError, match="It hangs"):
            await server.get("/v1/status")
    assert asked == ["/v1/status"]
