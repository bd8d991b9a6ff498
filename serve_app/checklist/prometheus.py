"""What a Prometheus knows of this deployment."""

from __future__ import annotations

from typing import Any

from serve_app.checklist.item import Finding

_PREFIX = "headrace_"
_TIMEOUT_S = 5.0


class Prometheus:
    """Its HTTP API, as far as the checklist reads it. `url` None: nobody said where one is."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    async def scraped(self, fix: str) -> Finding:
        """Whether it has series of ours now: those that were scraped within its look-back, five minutes as a rule."""
        data = await self._data("/api/v1/query", query=f'count({{__name__=~"(ray_)?{_PREFIX}.+"}})')
        if isinstance(data, Finding):
            return data
        if not data["result"]:
            return Finding.fail(f"{self._url} collects no series of Headrace now.", fix)
        return Finding.good(f"{self._url} collects {data['result'][0]['value'][1]} series of Headrace.")

    async def alerts(self, fix: str) -> Finding:
        """Whether it has alert rules of ours, and whether one fires."""
        data = await self._data("/api/v1/rules", type="alert")
        if isinstance(data, Finding):
            return data
        rules = [rule for group in data["groups"] for rule in group["rules"] if _PREFIX in str(rule.get("query", ""))]
        if not rules:
            return Finding.fail(f"{self._url} has no alert about Headrace.", fix)
        firing = [str(rule["name"]) for rule in rules if rule.get("state") == "firing"]
        if firing:
            return Finding.warn(
                f"{len(rules)} alerts are loaded; {', '.join(firing)} fires.", "See docs/observability.md."
            )
        return Finding.good(f"{len(rules)} alerts are loaded, and none fires.")

    async def _data(self, path: str, **params: str) -> Any:
        """The `data` of an answer, or a finding that says why there is none."""
        import httpx

        if self._url is None:
            return Finding.fail("Nobody says where a Prometheus is.", "Set checklist.prometheus_url.")
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:
                answer = await http.get(self._url.rstrip("/") + path, params=params)
                return answer.raise_for_status().json()["data"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            said = f"{self._url} does not answer as a Prometheus does ({type(error).__name__})."
            return Finding.fail(said, "Correct checklist.prometheus_url, or start it.")
