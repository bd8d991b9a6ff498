"""`headrace adapters add|canary|…`: each command is one call, and every failure one sentence."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.core import HeadraceError

ADAPTER = {"name": "finance", "live": "a" * 12, "canary": None, "canary_weight": 0.0, "pinned": False, "revision": 7}
VERSION = {"version": "a" * 12, "state": "live", "base_verified": True, "rank": 8, "adapter": ADAPTER}


class Server:
    """Answers every call with `answer`, and remembers the calls."""

    def __init__(self):
        self.calls = []
        self.answer = httpx.Response(200, json=ADAPTER)

    def request(self, method, url, **more):
        with httpx.Client(transport=httpx.MockTransport(self._handle)) as client:
            return client.request(method, url, **more)

    def _handle(self, request):
        self.calls.append((request.method, request.url, request.read(), dict(request.headers)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def server(monkeypatch):
    found = Server()
    monkeypatch.setattr(httpx, "request", found.request)
    return found


def run(*args):
    return CliRunner().invoke(app, ["adapters", *args])


@pytest.mark.parametrize(
    ("args", "method", "body"),
    [
        (("canary", "finance", "0.25"), "PATCH", {"canary": 0.25}),
        (("canary", "finance", "0.25", "--version", "b" * 12), "PATCH", {"canary": 0.25, "version": "b" * 12}),
        (("promote", "finance"), "PATCH", {"promote": True}),
        (("promote", "finance", "--version", "b" * 12), "PATCH", {"promote": "b" * 12}),
        (("rollback", "finance"), "PATCH", {"rollback": True}),
        (("pin", "finance"), "PATCH", {"pin": True}),
        (("unpin", "finance"), "PATCH", {"pin": False}),
        (("remove", "finance"), "DELETE", None),
    ],
)
def test_each_change_is_one_call(server, args, method, body):
    found = run(*args, "--key", "secret-key")
    assert found.exit_code == 0, found.output
    assert found.output == f"finance: live {'a' * 12} (revision 7).\n"
    ((asked, url, sent, headers),) = server.calls
    assert (asked, str(url)) == (method, "http://127.0.0.1:8000/v1/adapters/finance")
    assert (json.loads(sent) if sent else None) == body
    assert headers["authorization"] == "Bearer secret-key"


def test_a_folder_is_sent_with_its_files_only(server, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt"):
        (tmp_path / name).write_text(f"bytes of {name}")
    server.answer = httpx.Response(201, json=VERSION)
    found = run("add", "finance", str(tmp_path), "--canary", "0.1", "--pin")
    assert found.exit_code == 0, found.output
    assert "is live (verified, rank 8)" in found.output
    ((_, _, sent, headers),) = server.calls
    assert headers["content-type"].startswith("multipart/form-data")
    assert b"bytes of adapter_model.safetensors" in sent
    assert b"optimizer" not in sent
    assert b'name="canary"\r\n\r\n0.1\r\n' in sent
    assert b'name="pin"\r\n\r\ntrue\r\n' in sent


def test_a_uri_is_fetched_by_the_server(server):
    server.answer = httpx.Response(201, json=VERSION)
    found = run("add", "finance", "hf://org/finance@v2", "--live", "--json")
    assert json.loads(found.output) == VERSION
    assert json.loads(server.calls[0][2]) == {
        "name": "finance",
        "live": True,
        "base_override": False,
        "pin": False,
        "source": "hf://org/finance@v2",
    }


def test_list_of_a_server_and_of_the_package(server):
    versions = [{"version": "a" * 12, "state": "live", "source": "upload"}]
    server.answer = httpx.Response(200, json={"data": [ADAPTER | {"versions": versions}]})
    assert "finance" in run("list", "--url", "http://127.0.0.1:9000").output
    assert str(server.calls[0][1]) == "http://127.0.0.1:9000/v1/adapters"
    assert "finance" not in run("list").output


def test_the_audit_log_is_a_table(server):
    line = {"revision": 3, "at": 0.0, "actor": "ops", "action": "add", "name": "finance", "version": None, "detail": ""}
    server.answer = httpx.Response(200, json={"data": [line]})
    found = run("audit", "--name", "finance")
    assert "1970-01-01 00:00:00" in found.output
    assert dict(server.calls[0][1].params) == {"limit": "50", "name": "finance"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.ConnectError("refused"), "No server answers at http://127.0.0.1:8000"),
        (httpx.ReadError("reset"), "send the command again"),
        (httpx.Response(409, json={"error": {"message": "There is no canary."}}), "There is no canary."),
        (httpx.Response(401, json={"error": {"message": "No API key was given."}}), "HEADRACE_ADMIN_KEY"),
        (httpx.Response(502, text="<html>"), "answered with status 502"),
        (httpx.Response(200, text="hello"), "no word of ours"),
    ],
)
def test_a_failure_is_one_sentence(server, answer, told):
    server.answer = answer
    found = run("promote", "finance")
    assert isinstance(found.exception, HeadraceError)
    assert told in str(found.exception)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("add", "finance", "/nowhere"), "is no folder here"),
        (("add", "finance", "s3://x", "--live", "--canary", "0.5"), "not both"),
        (("promote", "finance", "--key", "a\nb"), "no HTTP header can carry"),
        (("canary", "finance", "2"), "less than or equal to 1"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_asked(server, args, told):
    found = run(*args)
    assert found.exit_code == 2
    assert told in " ".join(found.output.replace("│", " ").split())
    assert not server.calls
