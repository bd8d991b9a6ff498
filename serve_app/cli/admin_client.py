"""Calls of a running server's admin pages; every failure is one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from serve_app.cli.connection import CONNECT_TIMEOUT_S, connected, server_root
from serve_app.core import HeadraceError
from serve_app.core.texts import is_unicode

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 330.0
"""A little more than the server gives an addition."""
_READ_TIMEOUT_S = 60.0
"""A page that only looks takes 30 s at most."""
_DOCUMENTS_TIMEOUT_S = 660.0
"""A little more than the server gives documents."""


class Refused(HeadraceError):
    """The server's own sentence, and the HTTP status it came with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status


class AdminClient:
    """One server and the key for it. Raises Refused with the server's own sentence, HeadraceError where there is none.

    For pages that take user keys as well, `hint` says where such a key is given.
    """

    def __init__(
        self, url: str, key: str | None, hint: str = "Give an admin key with --key or HEADRACE_ADMIN_KEY."
    ) -> None:
        """Raises typer.BadParameter for a key that no header can carry, and for an address with a password."""
        if key is not None and not (key.isprintable() and key.isascii()):
            raise typer.BadParameter("the key holds characters that no HTTP header can carry; check --key")
        self._hint = hint
        self._url = server_root(url)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object of a page."""
        return self._ask("GET", path, _READ_TIMEOUT_S, params=params)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON."""
        return self._ask("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON."""
        return self._ask("PATCH", path, json=body)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Delete what the page is of."""
        return self._ask("DELETE", path, params=params)

    def send_files(
        self, path: str, fields: Mapping[str, Any], files: Sequence[Path], method: str = "POST"
    ) -> dict[str, Any]:
        """Send a form with these files, read while they are sent."""
        with ExitStack() as opened:
            parts = [("files", (file.name, opened.enter_context(file.open("rb")))) for file in files]
            return self._ask(method, path, data={name: _field(value) for name, value in fields.items()}, files=parts)

    def send_documents(
        self, path: str, fields: Mapping[str, Any], files: Mapping[str, Path], within_s: float = _DOCUMENTS_TIMEOUT_S
    ) -> dict[str, Any]:
        """Send files under names of their own. What became of each is told also where none was taken."""
        with ExitStack() as opened:
            parts = [("files", (name, opened.enter_context(file.open("rb")))) for name, file in files.items()]
            return self._ask("POST", path, within_s, data=dict(fields), files=parts)

    def _ask(self, method: str, path: str, within_s: float = _TIMEOUT_S, **request: Any) -> dict[str, Any]:
        import httpx

        try:
            sent = json.dumps([path, request.get("params"), request.get("json")], ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise typer.BadParameter("a number is none; write one like 0.1") from error
        if not is_unicode(sent):
            raise typer.BadParameter("a name or a value is not valid UTF-8; check the terminal's encoding")
        timeout = httpx.Timeout(within_s, connect=CONNECT_TIMEOUT_S)
        with connected(self._url, "; send the command again, it goes on from where it was."):
            answer = httpx.request(method, self._url + path, headers=self._headers, timeout=timeout, **request)
        return self._told(answer)

    def _told(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            body = answer.json()
            tells = answer.is_success or "errors" in body or "nodes" in body  # of documents, and of what is not ready
            if isinstance(body, dict) and tells:
                return body
            message = str(body["error"]["message"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            message = f"{self._url} answered with status {answer.status_code} and no word of ours; check --url."
        if answer.status_code == 401:
            message += f" {self._hint}"
        raise Refused(message, answer.status_code)


def _field(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | float | int) else str(value)
