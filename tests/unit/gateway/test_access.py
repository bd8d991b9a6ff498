"""Who may do what: the dependencies over a ring of keys, on an application of three pages."""

from types import SimpleNamespace

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from serve_app.config import Settings
from serve_app.core import LedgerError
from serve_app.gateway.auth import admin_key, any_key
from serve_app.gateway.errors import on_error
from serve_app.keys import Key, KeyRecord, KeyRing, KeySnapshot, digest_of
from tests.unit.gateway.conftest import SETTINGS

OWN = {"api_keys": {"team-a": "key-of-team-a", "team-b": "schlüssel-b"}, "admin_keys": {"root": "key-of-root"}}


class Source:
    """Stored keys, set by hand."""

    def __init__(self, *keys: Key) -> None:
        records = (KeyRecord(key, digest_of(f"stored-{key.key_id}".encode()), 0.0) for key in keys)
        self.now, self.error = KeySnapshot(tuple(records)), None

    async def keys(self) -> KeySnapshot:
        if self.error:
            raise self.error
        return self.now


@pytest.fixture
async def client_of():
    """A client of the application over these keys; -> sends a header, gets the response."""
    rings, clients = [], []

    def build(source=None, gateway=None):
        ring = KeyRing(Settings.model_validate({**SETTINGS, "gateway": gateway or {}}), source, refresh_s=3600)
        app = FastAPI()
        app.state.services = SimpleNamespace(keys=ring)
        app.add_exception_handler(Exception, on_error)
        for error in (LedgerError, *LedgerError.__mro__[1:2]):
            app.add_exception_handler(error, on_error)

        @app.get("/any", dependencies=[Depends(any_key)])
        async def page(request: Request):
            return {"key_id": request.state.key_id, "role": request.state.key and request.state.key.role}

        @app.get("/admin", dependencies=[Depends(admin_key)])
        async def admin(request: Request):
            return {"key_id": request.state.key_id}

        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
        rings.append(ring)
        clients.append(client)

        async def get(page, key=None):
            return await client.get(page, headers={} if key is None else {b"authorization": f"Bearer {key}".encode()})

        return get

    yield build
    for ring in rings:
        await ring.close()
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize(
    ("key", "key_id", "role"),
    [
        ("key-of-team-a", "team-a", "user"),
        ("schlüssel-b", "team-b", "user"),
        ("key-of-root", "root", "admin"),
        ("stored-bob", "bob", "user"),
    ],
)
async def test_a_request_is_accounted_under_the_name_of_its_key(client_of, key, key_id, role):
    get = client_of(Source(Key("bob")), OWN)
    assert (await get("/any", key)).json() == {"key_id": key_id, "role": role}


@pytest.mark.parametrize("page", ["/any", "/admin"])
@pytest.mark.parametrize("key", [None, "", "key-of-team-x", "stored-eve"])
async def test_no_key_and_a_wrong_one_are_unauthorized_everywhere(client_of, page, key):
    response = await client_of(Source(Key("bob")), OWN)(page, key)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


async def test_admin_pages_need_an_admin_key(client_of):
    get = client_of(Source(Key("boss", "admin"), Key("bob")), OWN)
    assert (await get("/admin", "key-of-root")).json() == {"key_id": "root"}
    assert (await get("/admin", "stored-boss")).json() == {"key_id": "boss"}
    for key in ("key-of-team-a", "stored-bob"):
        error = (await get("/admin", key)).json()["error"]
        assert error["code"] == "admin_key_needed"


@pytest.mark.parametrize("page", ["/any", "/admin"])
async def test_a_server_without_keys_is_open_and_nobody_has_a_name(client_of, page):
    response = await client_of(Source())(page, "anything")
    assert (response.status_code, response.json()["key_id"]) == (200, None)


async def test_while_it_is_not_known_whether_there_are_keys_nothing_passes(client_of):
    source = Source()
    source.error = LedgerError("away")
    assert (await client_of(source)("/any")).status_code == 503
