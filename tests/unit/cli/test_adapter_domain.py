"""`headrace adapters add --examples`: the adapter comes, the router learns its label, and both are in force."""

import json
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from serve_app.adapters.registry.routing import ROUTER_FILES, digest_of
from serve_app.cli import router as router_commands
from serve_app.cli.main import app
from serve_app.core import HeadraceError

TEXTS = {"vowels": ["aaaa ee", "eea iou", "ooo aa", "uuu eia"], "others": ["xxx zz", "kkk rt", "tttz", "rrr kx"]}
NEW = ["mmm nm", "nnn mn", "mnm nn", "nmn mm", "mmn n"]
VERSION = {"version": "a" * 12, "state": "live", "base_verified": True, "rank": 8}


class LetterEncoder:
    """One dimension a letter, so that texts of the same letters are alike."""

    digest = "letters"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        found = np.array([[text.count(chr(97 + place)) + 0.01 for place in range(26)] for text in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class Server:
    """A server with a registry and a router; remembers what it was sent."""

    def __init__(self):
        self.answering = ""
        self.calls = []

    def request(self, method, url, **more):
        with httpx.Client(transport=httpx.MockTransport(self._handle)) as client:
            return client.request(method, url, **more)

    def _handle(self, request):
        self.calls.append((request.method, request.url.path, request.read()))
        if request.url.path == "/v1/adapters":
            return httpx.Response(201, json=VERSION)
        revision = 3 if request.method == "GET" else 4
        return httpx.Response(200, json={"answering": self.answering, "revision": revision})


@pytest.fixture
def server(monkeypatch):
    found = Server()
    monkeypatch.setattr(httpx, "request", found.request)
    monkeypatch.setattr(router_commands, "encoder_of", lambda name: LetterEncoder())
    return found


@pytest.fixture
def router(tmp_path, server):
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "router"
    rows.write_text(
        "\n".join(json.dumps({"text": text, "label": key}) for key, texts in TEXTS.items() for text in texts)
    )
    CliRunner().invoke(
        app,
        ["router", "train", "--data", str(rows), "--out", str(folder), "--classifier", "few-shot"],
        catch_exceptions=False,
    )
    server.answering = digest_of({name: (folder / name).read_bytes() for name in ROUTER_FILES})
    return folder


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "finance.jsonl"
    path.write_text("\n".join(json.dumps({"text": text, "label": "finance"}) for text in NEW))
    return path


def add(*args):
    return CliRunner().invoke(app, ["adapters", "add", "finance", "s3://bucket/finance", "--live", *map(str, args)])


def test_both_are_done_and_the_confusions_are_shown(server, router, examples, tmp_path):
    out = tmp_path / "longer"
    found = add("--examples", examples, "--router-out", out, "--router", router)
    assert found.exit_code == 0, (found.output, found.exception)
    assert [call[:2] for call in server.calls] == [
        ("GET", "/v1/routing"),
        ("POST", "/v1/adapters"),
        ("PATCH", "/v1/routing"),
    ]
    sent = server.calls[2][2]
    assert b'{"finance": "finance"}' in sent
    assert b'name="after"\r\n\r\n3\r\n' in sent
    assert all((out / name).read_bytes() in sent for name in ROUTER_FILES)
    assert "finance is" not in found.output.splitlines()[-1]
    assert "Queries of 'finance' go to finance (routing revision 4)." in found.output
    assert "vowels" in found.output


def test_json_has_both_matrices(server, router, examples, tmp_path):
    found = add("--examples", examples, "--router-out", tmp_path / "o", "--router", router, "--json")
    told = json.loads(found.stdout)
    assert set(told["taught"]["after"]) == {"vowels", "others", "finance"}
    assert told["routing"]["revision"] == 4


def test_another_router_than_the_server_s_is_refused_before_anything_changes(server, router, examples, tmp_path):
    server.answering = "0" * 64
    found = add("--examples", examples, "--router-out", tmp_path / "o", "--router", router)
    assert isinstance(found.exception, HeadraceError)
    assert "--router" in str(found.exception)
    assert [call[0] for call in server.calls] == ["GET"]


def test_the_two_options_go_together(server, examples):
    found = add("--examples", examples)
    assert (found.exit_code, server.calls) == (2, [])
