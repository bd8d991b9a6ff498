"""/openapi.json: nothing is left out, who may call what is as it says, and answers look as it says."""

import ast
import threading
from typing import Any

import httpx
import pytest

from serve_app.gateway import errors
from serve_app.gateway.app import description
from serve_app.gateway.error_codes import ADMIN_CODES, BODY_CODES, ERROR_CODES, KEY_CODES
from serve_app.gateway.openapi import TAGS

KEYS = {"api_keys": {"ann": "key-of-ann"}, "admin_keys": {"ops": "key-of-ops"}}
DESCRIBED = description()
OPERATIONS = [
    pytest.param(method, path, operation, id=f"{method.upper()} {path}")
    for path, operations in DESCRIBED["paths"].items()
    for method, operation in operations.items()
]


def codes_of(operation: dict[str, Any]) -> set[str]:
    """All codes that a page says it may answer with, beside those of every page."""
    return {
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get("application/json", {}).get("examples", {})
    }


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_page_has_a_summary_a_tag_and_its_errors(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"] and "\n" not in operation["summary"] and len(operation["summary"]) < 80
    assert len(operation["tags"]) == 1
    assert operation["tags"][0] in {tag["name"] for tag in TAGS}
    responses, codes = operation["responses"], codes_of(operation)
    assert "422" not in responses, "what FastAPI calls 422 is a 400 here"
    assert responses["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert all(ERROR_CODES[code].status == int(status) for status, code in _by_status(operation))
    if path.startswith("/v1/"):
        admin = operation["security"] == [{"key": ["admin"]}]
        assert codes >= set(ADMIN_CODES if admin else KEY_CODES)
    else:
        assert "security" not in operation
    if "requestBody" in operation:
        assert codes >= set(BODY_CODES)
    if any(one["in"] == "query" for one in operation.get("parameters", [])):
        assert "invalid_value" in codes
    if path.endswith("}") or path.startswith(("/v1/adapters", "/v1/routing", "/v1/rag")):
        assert "404" in responses


def _by_status(operation: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (status, code)
        for status, response in operation["responses"].items()
        for code in response.get("content", {}).get("application/json", {}).get("examples", {})
    ]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
async def test_a_page_asks_for_the_key_that_it_says(
    make_world: Any, method: str, path: str, operation: dict[str, Any]
) -> None:
    world = make_world(overrides={"gateway": KEYS})
    wanted = operation.get("security", [{"key": None}])[0]["key"]
    url = path.replace("{", "").replace("}", "")
    expected = {None: 200, "key-of-ann": 200}
    if wanted is not None:
        expected = {None: "invalid_api_key", "key-of-ann": "admin_key_needed" if wanted else 200}
    for key, code in expected.items():
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        answer = await world.http.request(method, url, headers=headers)
        if code == 200:
            assert answer.status_code not in (401, 403)
        else:
            assert (answer.json()["error"]["code"], str(answer.status_code) in operation["responses"]) == (code, True)


def test_every_parameter_and_field_is_described() -> None:
    for name, schema in DESCRIBED["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, told in schema.get("properties", {}).items():
            assert told.get("description") or "$ref" in told, f"{name}.{field}"
    for path, operations in DESCRIBED["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), f"{path} {parameter['name']}"


async def test_a_server_serves_the_same_description(world: Any) -> None:
    assert (await world.http.get("/openapi.json")).json() == DESCRIBED


async def test_the_description_is_made_off_the_event_loop(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, threads = world.app.openapi, []
    monkeypatch.setattr(world.app, "openapi", lambda: threads.append(threading.current_thread()) or made())
    assert (await world.http.get("/openapi.json")).status_code == 200
    assert threads and threading.current_thread() not in threads


async def test_behind_a_path_prefix_the_description_names_it(world: Any) -> None:
    transport = httpx.ASGITransport(world.app, root_path="/behind")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        assert (await http.get("/behind/openapi.json")).json() == {**DESCRIBED, "servers": [{"url": "/behind"}]}


def test_every_code_is_known_with_its_status_and_type(repo: Any) -> None:
    kinds = [*errors._KINDS.values(), errors._CONFLICT]
    for kind in kinds:
        if kind.code is not None:
            assert (ERROR_CODES[kind.code].status, ERROR_CODES[kind.code].type) == (kind.status, kind.type)
    for source in (repo / "serve_app").rglob("*.py"):
        for code in _raised_codes(ast.parse(source.read_text(encoding="utf-8"))):
            assert code in ERROR_CODES, f"{source.name}: {code}"


def _raised_codes(tree: ast.AST) -> list[str]:
    """The third argument, or `code`, of every request error that is made."""
    names = ("RequestError", "NotFound", "NotPermitted", "ModelNotFound", "PromptTooLong", "BodyTooLarge", "KeyReused")
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            third = [*node.args[2:3], *(word.value for word in node.keywords if word.arg == "code")]
            found += [one.value for one in third if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return found
