"""GET /dashboard and its files. They hold no figures, so they need no key."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

_FOLDER = Path(__file__).parent / "static"
_PAGE = "index.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Own scripts and styles only, requests to this server only, no frames, no strings turned into markup.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # asked again each time, and answered 304 while it is the same
}


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it is sent."""

    content: bytes
    media_type: str
    etag: str


def dashboard_routes() -> APIRouter:
    """The page at /dashboard and its files, which this call reads. Links are relative: a path prefix may precede it."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES}

    @router.get("/dashboard", response_model=None)
    async def page(request: Request) -> Response:
        """The page."""
        return _answer(request, files[_PAGE])

    @router.get("/dashboard/", response_model=None)
    async def page_with_slash() -> Response:
        """The page's links need its address without the slash."""
        return RedirectResponse("../dashboard", 308)

    @router.get("/dashboard/{name}", response_model=None)
    async def part(request: Request, name: str) -> Response:
        """A style, a script or a picture of the page."""
        if name == _PAGE or name not in files:
            raise HTTPException(404)
        return _answer(request, files[name])

    return router


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _answer(request: Request, file: _File) -> Response:
    """The file, or 304 where the browser has it."""
    headers = {**_HEADERS, "etag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
