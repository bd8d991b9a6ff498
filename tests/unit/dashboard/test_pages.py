"""The dashboard's files: what is sent, under which headers, and that they name nothing from elsewhere."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

import serve_app.dashboard
from serve_app.dashboard import dashboard_routes

STATIC = Path(serve_app.dashboard.__file__).parent / "static"
PARTS = sorted(path.name for path in STATIC.iterdir() if path.name != "index.html")


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI(redirect_slashes=False)
    app.include_router(dashboard_routes())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_the_page_needs_no_key_and_is_under_a_strict_policy(client):
    page = await client.get("/dashboard")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", PARTS)
async def test_every_part_is_sent_with_its_type(client, name):
    part = await client.get(f"/dashboard/{name}")
    assert part.status_code == 200
    assert part.content == (STATIC / name).read_bytes()
    assert part.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")


async def test_what_the_browser_has_is_not_sent_again(client):
    first = await client.get("/dashboard/app.js")
    again = await client.get("/dashboard/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2fpages.py", "%2e%2e/pages.py"])
async def test_nothing_else_is_sent(client, name):
    assert (await client.get(f"/dashboard/{name}")).status_code == 404


async def test_the_address_with_a_slash_leads_to_the_page(client):
    page = await client.get("/dashboard/", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/dashboard")


def test_no_file_names_another_server_or_holds_inline_code():
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"https?://[^\"'\s)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not named, path.name
        assert "innerHTML" not in text, path.name
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\s(style|on\w+)=", page)
    assert all('src="' in tag for tag in re.findall(r"<script[^>]*>", page))


def test_every_script_is_imported_and_every_id_is_in_the_page():
    scripts = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    imported = {name for text in scripts.values() for name in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported | {"app.js"} == set(scripts)
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    named = {name for text in scripts.values() for name in re.findall(r'byId\("([\w-]+)"\)', text)}
    assert named <= set(re.findall(r'id="([\w-]+)"', page))
