"""docs/api.md runs, and leaves nothing out."""

import re

import pytest

from serve_app.gateway import PrometheusMetrics
from serve_app.gateway.parameters import CHANGES_NOTHING, CHAT_UNSUPPORTED, MESSAGE_UNSUPPORTED, TEXT_UNSUPPORTED
from serve_app.gateway.requests import MAX_MESSAGES, ChatBody, TextBody
from serve_app.ledger import public_account


@pytest.fixture
def page(repo):
    return (repo / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_python_block_runs(page, serving, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    url, _ = serving()
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8000", url), "docs/api.md", "exec"), scope := {})
        scope["client"].close()
    assert "a small answer" in capsys.readouterr().out


def test_every_parameter_is_named(page):
    fields = {*ChatBody.model_fields, *TextBody.model_fields}
    for name in {*fields, *CHAT_UNSUPPORTED, *TEXT_UNSUPPORTED, *MESSAGE_UNSUPPORTED, *CHANGES_NOTHING}:
        assert f"`{name}`" in page, name
    assert f"1 to {MAX_MESSAGES} turns" in page


async def test_every_route_metric_and_account_field_is_named(page, world, repo):
    for path in (await world.http.get("/openapi.json")).json()["paths"]:
        assert path in page.replace("{id}", "{query_id}"), path
    await world.chat()
    text = PrometheusMetrics().exposition()[0].decode()
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)", text, re.MULTILINE)
    figures = (repo / "docs" / "observability.md").read_text(encoding="utf-8")
    for name in (name for name in names if not name.endswith("_created")):
        assert f"`{name.removesuffix('_total')}`" in figures, name
    [account] = await world.accounts()
    for name in public_account(account):
        assert f"`{name}`" in page, name
