"""Errors that cross a handle arrive as what they are, in words that name no part of Ray.

| raised in or by | arrives as |
|---|---|
| the callee: any HeadraceError | itself |
| the callee: anything else | the handle's own error class, one sentence |
| Serve: too many calls are waiting | Overloaded |
| Ray or Serve: the replica, its node or the connection to it is gone | ReplicaLost; of the ledger, LedgerError |
| Ray or Serve: anything else, such as a deployment that cannot start | the handle's own error class |
"""

import logging

import grpc
from ray.exceptions import (
    AsyncioActorExit,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    OwnerDiedError,
    RayActorError,
    RayError,
    RayTaskError,
    RpcError,
    WorkerCrashedError,
)
from ray.serve.exceptions import BackPressureError, RayServeException, ReplicaUnavailableError

from serve_app.core import EngineError, HeadraceError, Overloaded, ReplicaLost

_LOG = logging.getLogger("ray.serve")
_REPLICA_GONE = (
    RayActorError,  # died, or cannot be reached: also what Serve makes of a broken gRPC connection
    ReplicaUnavailableError,
    AsyncioActorExit,
    NodeDiedError,
    LocalRayletDiedError,
    WorkerCrashedError,
    OutOfMemoryError,
    OwnerDiedError,
    RpcError,
)
_CONNECTION_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL)
"""How gRPC ends a call, under way, whose peer is gone or stops. What the callee raises is never told in this way."""


def unwrapped(error: Exception, node: str, kind: type[HeadraceError]) -> HeadraceError:
    """What to raise for `error`, which a call to the deployment `node` gave; `kind` is for errors not foreseen.

    What the client is not told is in the replica's log.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, HeadraceError):
        return cause
    if isinstance(cause, BackPressureError):
        wait_s = max(1, round(cause.retry_after_s or 1))
        return Overloaded(f"Too many queries wait for {node}; try again in {wait_s} s.", wait_s)
    first_line = str(cause).partition("\n")[0] or "no message"
    if is_lost(cause):
        _LOG.warning("A replica of %s is lost: %s: %s", node, type(cause).__name__, first_line)
        return lost(node, kind)
    if isinstance(cause, RayError | RayServeException | grpc.RpcError):
        _LOG.warning("%s cannot be called: %s: %s", node, type(cause).__name__, first_line)
        return kind(f"{node} cannot be reached now; try again later, and see the log if it stays.")
    return kind(f"{node} failed ({type(cause).__name__}: {first_line}); try again, and see its log if it stays.")


def lost(node: str, kind: type[HeadraceError]) -> HeadraceError:
    """The error of a call whose replica is lost."""
    lost_kind = ReplicaLost if kind is EngineError else kind
    return lost_kind(f"{node} lost the replica that was answering; try again.")


def is_lost(error: BaseException) -> bool:
    """Whether the replica, or the connection to it, is gone."""
    if isinstance(error, grpc.RpcError):
        code = getattr(error, "code", None)  # an attribute of those that end a call only
        return code is not None and code() in _CONNECTION_GONE
    return isinstance(error, _REPLICA_GONE)
