"""What can go wrong with one server, for whoever decides what to do about it. Never leaves this package."""

from __future__ import annotations

from typing import Literal

from serve_app.endpoints import Refusal

Kind = Literal["failed", "limited", "refused"]
"""`failed`: may pass. `limited`: it asks to be left alone for a while. `refused`: no use asking again soon."""

_BUSY = frozenset({408, 409, 425})
_NOT_LET_IN = frozenset({401, 403})


class ServerFault(Exception):
    """One server did not answer, or broke off. `str()` reads on from the server's name and holds no secret."""

    def __init__(self, message: str, kind: Kind = "failed") -> None:
        super().__init__(message)
        self.kind = kind


def fault_of(refusal: Refusal, key_env: str | None) -> ServerFault | None:
    """What an error answer means; None: it is the caller's fault.

    What a server says about a key is never repeated: some quote it.
    """
    status = refusal.status
    if status in _NOT_LET_IN:
        if key_env is None:
            return ServerFault(f"wants a key (status {status}): name its variable in `api_key_env`", "refused")
        return ServerFault(
            f"refuses the key in the environment variable {key_env} (status {status}): put a valid one there", "refused"
        )
    if status == 429:
        used_up = "insufficient_quota" in (refusal.code, refusal.type)
        return ServerFault(f"answered with {refusal}", "refused" if used_up else "limited")
    if status in (402, 404, 405, 407) or status < 400:
        return ServerFault(f"answered with {refusal}: check its address, model and account", "refused")
    if status in _BUSY or status >= 500:
        return ServerFault(f"answered with {refusal}")
    return None
