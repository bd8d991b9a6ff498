"""Errors that cross a handle arrive as what they are."""

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError

from serve_app.core import DeadlineExceeded, EngineError, LedgerError, ModelNotFound, Overloaded, PromptTooLong
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


def test_a_dead_replica_is_the_node_s_own_error_in_one_line() -> None:
    for kind in (EngineError, LedgerError):
        error = unwrapped(RayActorError(), "ledger", kind)
        assert type(error) is kind
        assert "\n" not in str(error)


def test_a_foreign_error_is_named() -> None:
    error = unwrapped(ValueError("bad\ntraceback"), "router", EngineError)
    assert str(error).startswith("router failed (ValueError: bad);")
