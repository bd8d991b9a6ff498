"""What /openapi.json promises and forbids, tried by schemathesis over HTTP: no 500, every error in OpenAI's shape."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

EXAMPLES = 60


@pytest.fixture(scope="package")
def operations(gateway_url: str) -> list[Any]:
    """All that the gateway describes."""
    schema = schemathesis.openapi.from_url(f"{gateway_url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def test_the_description_names_every_way_to_ask(operations: list[Any]) -> None:
    labels = {operation.label for operation in operations}
    assert {"POST /v1/chat/completions", "POST /v1/completions", "GET /v1/ledger/stats", "GET /v1/models"} <= labels


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: f"{mode.value} cases")
def test_no_request_makes_the_gateway_fail(operations: list[Any], mode: GenerationMode) -> None:
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
            continue
        try:
            tried(operation.as_strategy(generation_mode=mode))
        except Exception as error:
            error.add_note(operation.label)
            raise


def takes_anything(operation: Any) -> bool:
    """Whether there is something to get wrong; any text is a name, so a path is not."""
    return any(len(part) for part in (operation.body, operation.query))


def tried(cases: Any) -> None:
    """Send examples of one operation."""

    @given(cases)
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        response = case.call()
        case.validate_response(response, checks=[not_a_server_error])
        if response.status_code >= 400 and case.path.startswith("/v1/"):
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert "Traceback" not in error["message"]

    send()
