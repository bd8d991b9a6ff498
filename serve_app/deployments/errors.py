"""Errors that cross a handle arrive as what they are.

| raised in or by | arrives as |
|---|---|
| the callee: any HeadraceError | itself |
| the callee: anything else | the handle's own error class, one sentence |
| Serve: too many calls are waiting | Overloaded |
| Ray or Serve: replica died, deployment gone, connection lost | the handle's own error class |
"""

from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError

from serve_app.core import HeadraceError, Overloaded


def unwrapped(error: Exception, node: str, kind: type[HeadraceError]) -> HeadraceError:
    """What to raise for `error`, which a call to the deployment `node` gave; `kind` is for errors not foreseen."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, HeadraceError):
        return cause
    if isinstance(cause, BackPressureError):
        wait_s = max(1, round(cause.retry_after_s or 1))
        return Overloaded(f"Too many queries wait for {node}; try again in {wait_s} s.", wait_s)
    first_line = str(cause).partition("\n")[0] or "no message"
    return kind(f"{node} failed ({type(cause).__name__}: {first_line}); try again, and see its log if it stays.")
