"""What a Grafana shows of this deployment."""

from __future__ import annotations

from pydantic import SecretStr

from serve_app.checklist.item import Finding

_UID = "headrace"
"""Of the dashboard in deploy/grafana."""
_TIMEOUT_S = 5.0


class Grafana:
    """Its HTTP API, as far as the checklist reads it. `url` None: nobody said where one is."""

    def __init__(self, url: str | None, token: SecretStr | None) -> None:
        self._url, self._token = url, token

    async def dashboard(self, fix: str) -> Finding:
        """Whether it has the dashboard of deploy/grafana."""
        import httpx

        if self._url is None:
            return Finding.fail("Nobody says where a Grafana is.", "Set checklist.grafana_url.")
        headers = {} if self._token is None else {"authorization": f"Bearer {self._token.get_secret_value()}"}
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:
                answer = await http.get(f"{self._url.rstrip('/')}/api/dashboards/uid/{_UID}", headers=headers)
                if answer.status_code in (401, 403):
                    return Finding.fail(
                        f"{self._url} lets nobody look ({answer.status_code}).",
                        "Set checklist.grafana_token to a service account's that may view dashboards.",
                    )
                if answer.status_code == 404:
                    return Finding.fail(f"{self._url} has no dashboard `{_UID}`.", fix)
                title = answer.raise_for_status().json()["dashboard"]["title"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            said = f"{self._url} does not answer as a Grafana does ({type(error).__name__})."
            return Finding.fail(said, "Correct checklist.grafana_url, or start it.")
        return Finding.good(f"{self._url} has the dashboard {title!r}.")
