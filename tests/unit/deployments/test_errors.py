"""Errors that cross a handle arrive as what they are."""

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from serve_app.core import (
    DeadlineExceeded,
    EngineError,
    LedgerError,
    ModelNotFound,
    Overloaded,
    PromptTooLong,
    ReplicaLost,
)
from serve_app.deployments.errors import unwrapped


def test_our_errors_stay_themselves_with_their_fields() -> None:
    error = PromptTooLong("too long", "messages", "context_length_exceeded")
    assert unwrapped(error, "specialists", EngineError) is error


def test_our_errors_come_out_of_ray_s_wrapper() -> None:
    cause = ModelNotFound("no such adapter", "model", "model_not_found")
    for one in (cause, DeadlineExceeded("its turn did not come within the time given")):
        wrapped = RayTaskError("generate", "traceback", one)
        assert unwrapped(wrapped.as_instanceof_cause(), "specialists", EngineError) is one


def test_back_pressure_is_overload_with_a_wait() -> None:
    error = unwrapped(BackPressureError(9, 8), "fallback", EngineError)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s >= 1
    assert "fallback" in str(error)


GONE = [
    RayActorError(),
    ActorDiedError(),
    ActorUnavailableError("The actor is temporarily unavailable.", b"0" * 16),
    ReplicaUnavailableError("app#Specialists#x1"),
    OutOfMemoryError("Task was killed due to the node running low on memory."),
    NodeDiedError("node"),
    WorkerCrashedError(),
    RayTaskError("generate", "traceback", ActorDiedError()),
    *(
        AioRpcError(code, Metadata(), Metadata(), "Socket closed")
        for code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.INTERNAL)
    ),
]


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_dead_replica_is_told_in_one_sentence_without_ray(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    from_engine = unwrapped(error, "specialists", EngineError)
    assert type(from_engine) is ReplicaLost
    assert str(from_engine) == "specialists lost the replica that was answering; try again."
    assert "A replica of specialists is lost" in caplog.text
    from_ledger = unwrapped(error, "ledger", LedgerError)
    assert type(from_ledger) is LedgerError
    assert str(from_ledger) == "ledger lost the replica that was answering; try again."


def test_what_does_not_say_that_the_replica_is_gone_is_no_reason_to_ask_another() -> None:
    for error in (
        DeploymentUnavailableError(DeploymentID("Specialists", "app")),
        AioRpcError(StatusCode.RESOURCE_EXHAUSTED, Metadata(), Metadata(), "message too large"),
        RaySystemError("The object store is full."),
    ):
        told = unwrapped(error, "specialists", EngineError)
        assert type(told) is EngineError
        assert str(told) == "specialists cannot be reached now; try again later, and see the log if it stays."


def test_a_foreign_error_is_named() -> None:
    error = unwrapped(ValueError("bad\ntraceback"), "router", EngineError)
    assert str(error).startswith("router failed (ValueError: bad);")
