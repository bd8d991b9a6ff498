"""docs/http.md is current, and docs/api.md and it together leave nothing out."""

import re

import pytest

from serve_app.gateway import PrometheusMetrics
from serve_app.gateway.app import description
from serve_app.gateway.parameters import CHANGES_NOTHING, CHAT_UNSUPPORTED, MESSAGE_UNSUPPORTED, TEXT_UNSUPPORTED
from serve_app.gateway.reference import markdown
from serve_app.gateway.requests import MAX_MESSAGES, ChatBody, TextBody
from serve_app.ledger import public_account


@pytest.fixture
def page(repo):
    return (repo / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def reference(repo):
    return (repo / "docs" / "http.md").read_text(encoding="utf-8")


def test_the_reference_is_current(reference):
    assert reference == markdown(description()), "run: headrace reference http > docs/http.md"


def test_every_parameter_is_named(reference):
    fields = {*ChatBody.model_fields, *TextBody.model_fields}
    for name in {*fields, *CHAT_UNSUPPORTED, *TEXT_UNSUPPORTED, *MESSAGE_UNSUPPORTED, *CHANGES_NOTHING}:
        assert f"`{name}`" in reference, name
    assert f"(1 to {MAX_MESSAGES})" in reference


async def test_every_route_metric_and_account_field_is_named(page, reference, world, repo):
    for path in (await world.http.get("/openapi.json")).json()["paths"]:
        assert path in reference, path
    await world.chat()
    text = PrometheusMetrics().exposition()[0].decode()
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)", text, re.MULTILINE)
    figures = (repo / "docs" / "observability.md").read_text(encoding="utf-8")
    for name in (name for name in names if not name.endswith("_created")):
        assert f"`{name.removesuffix('_total')}`" in figures, name
    [account] = await world.accounts()
    for name in public_account(account):
        assert f"`{name}`" in page, name
