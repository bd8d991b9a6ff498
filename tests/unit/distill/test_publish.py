"""What goes over HTTP, and what is said when it does not."""

import httpx
import pytest

from serve_app.adapters.registry.files import NAMES
from serve_app.core import ConfigError, EngineError, RequestError
from serve_app.distill.publish import KEY_ENV, publish


@pytest.fixture
def folder(tmp_path):
    for name in (*NAMES, "metrics.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


def answering(status, body):
    seen = []

    def handle(request):
        seen.append(request)
        return httpx.Response(status, json=body)

    return seen, httpx.MockTransport(handle)


def test_the_files_go_as_a_canary_with_the_admin_key(folder, monkeypatch):
    monkeypatch.setenv(KEY_ENV, "secret")
    seen, transport = answering(201, {"version": "abc", "state": "canary", "report": {}})
    assert publish(folder, "support", "http://host:8000", 0.1, transport) == {"version": "abc", "state": "canary"}
    (request,) = seen
    body = request.read().decode()
    assert (request.method, str(request.url)) == ("POST", "http://host:8000/v1/adapters")
    assert request.headers["authorization"] == "Bearer secret"
    assert body.count('name="files"') == len(NAMES)
    assert "metrics.json" not in body
    assert 'name="canary"\r\n\r\n0.1' in body


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [(401, ConfigError, "set HEADRACE_ADMIN_KEY"), (400, RequestError, "rank too high"), (201, EngineError, "version")],
)
def test_refusals_are_one_sentence(folder, status, kind, told):
    _, transport = answering(status, {"error": {"message": "rank too high"}})
    with pytest.raises(kind, match=told):
        publish(folder, "support", "http://host", 0.1, transport)


def test_a_server_that_is_away_is_said(folder):
    def away(request):
        raise httpx.ConnectError("no")

    with pytest.raises(EngineError, match="cannot be reached"):
        publish(folder, "support", "http://host", 0.1, httpx.MockTransport(away))
