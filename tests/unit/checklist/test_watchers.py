"""What the checklist reads of a Prometheus and of a Grafana, over their own answers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from serve_app.checklist.grafana import Grafana
from serve_app.checklist.prometheus import Prometheus

Answering = Callable[[Mapping[str, tuple[int, Any]]], list[httpx.Request]]
FIX = "Do something."


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """`answering({path: (status, JSON)})` -> the requests that come."""

    def answer(pages: Mapping[str, tuple[int, Any]]) -> list[httpx.Request]:
        asked: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            status, body = pages.get(request.url.path, (404, {"message": "not found"}))
            return httpx.Response(status, json=body)

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))
        return asked

    return answer


def result(*values: str) -> dict[str, Any]:
    """As `/api/v1/query` answers."""
    return {"status": "success", "data": {"resultType": "vector", "result": [{"value": [0, one]} for one in values]}}


@pytest.mark.parametrize(("values", "status"), [((), "fail"), (("41",), "pass")])
async def test_series_are_those_of_now(answering: Answering, values: tuple[str, ...], status: str) -> None:
    asked = answering({"/api/v1/query": (200, result(*values))})
    finding = await Prometheus("http://prometheus:9090/").scraped(FIX)
    assert finding.status == status
    assert asked[0].url.params["query"] == 'count({__name__=~"(ray_)?headrace_.+"})'


@pytest.mark.parametrize(
    ("rules", "status", "said"),
    [
        ([], "fail", "no alert"),
        ([{"name": "Other", "query": "up == 0", "state": "firing"}], "fail", "no alert"),
        ([{"name": "Lost", "query": "headrace_lost > 0", "state": "inactive"}], "pass", "1 alerts"),
        ([{"name": "Lost", "query": "headrace_lost > 0", "state": "firing"}], "warn", "Lost fires"),
    ],
)
async def test_rules_are_ours(answering: Answering, rules: list[dict[str, str]], status: str, said: str) -> None:
    answering({"/api/v1/rules": (200, {"data": {"groups": [{"rules": rules}]}})})
    finding = await Prometheus("http://prometheus:9090").alerts(FIX)
    assert (finding.status, said in finding.evidence) == (status, True)


async def test_a_prometheus_that_is_none_is_said(answering: Answering) -> None:
    answering({"/api/v1/query": (200, ["what?"])})
    finding = await Prometheus("http://prometheus:9090").scraped(FIX)
    assert (finding.status, "does not answer as a Prometheus does" in finding.evidence) == ("fail", True)
    assert (await Prometheus(None).alerts(FIX)).fix == "Set checklist.prometheus_url."


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ((200, {"dashboard": {"title": "Headrace"}}), "pass", "'Headrace'"),
        ((404, {}), "fail", "no dashboard `headrace`"),
        ((401, {}), "fail", "lets nobody look (401)"),
        ((500, {}), "fail", "HTTPStatusError"),
        ((200, []), "fail", "TypeError"),
    ],
)
async def test_the_dashboard_is_looked_for(
    answering: Answering, answer: tuple[int, Any], status: str, said: str
) -> None:
    asked = answering({"/api/dashboards/uid/headrace": answer})
    finding = await Grafana("http://grafana:3000", SecretStr("token")).dashboard(FIX)
    assert (finding.status, said in finding.evidence) == (status, True)
    assert asked[0].headers["authorization"] == "Bearer token"
    assert (await Grafana(None, None).dashboard(FIX)).fix == "Set checklist.grafana_url."
