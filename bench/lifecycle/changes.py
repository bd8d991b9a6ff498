"""The changes of one run, through the admin API, each with the time of its call and of its answer."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from serve_app.adapters import AdapterSpec

NAME, BYSTANDER = "wanderer", "bystander"


@dataclass(frozen=True, slots=True)
class Change:
    """One call of the API. Times are seconds since the epoch."""

    what: str
    asked_at_s: float
    done_at_s: float
    live: str | None
    """Of `wanderer`, when it was done; None: the name is gone."""
    canary: str | None
    weight: float


@dataclass
class Admin:
    """The API under an admin key, and the log of what it did."""

    url: str
    key: str
    changes: list[Change] = field(default_factory=list)

    async def add(self, what: str, spec: AdapterSpec, name: str = NAME, **more: Any) -> None:
        """POST a folder. `more`: `live`, `canary`, `pin`."""
        await self._do(what, "POST", "/v1/adapters", {"name": name, "source": str(spec.path), **more})

    async def patch(self, what: str, **change: Any) -> None:
        """PATCH the name."""
        await self._do(what, "PATCH", f"/v1/adapters/{NAME}", change)

    async def remove(self, what: str) -> None:
        """DELETE the name."""
        await self._do(what, "DELETE", f"/v1/adapters/{NAME}", None)

    async def audit(self) -> list[dict[str, Any]]:
        """What the server wrote down of it, newest first."""
        async with self._client() as client:
            response = await client.get("/v1/adapters/audit", params={"limit": 200})
            response.raise_for_status()
            entries: list[dict[str, Any]] = response.json()["data"]
            return entries

    async def _do(self, what: str, method: str, path: str, body: dict[str, Any] | None) -> None:
        asked_at_s = time.time()
        async with self._client() as client:
            response = await client.request(method, path, json=body)
            if response.is_error:
                raise RuntimeError(f"{what}: HTTP {response.status_code} {response.text}")
            done_at_s = time.time()
            now = await client.get(f"/v1/adapters/{NAME}")
        adapter = now.json() if now.status_code == httpx.codes.OK else {}
        self.changes.append(
            Change(
                what,
                asked_at_s,
                done_at_s,
                adapter.get("live"),
                adapter.get("canary"),
                float(adapter.get("canary_weight") or 0),
            )
        )

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=330)


async def live_through(admin: Admin, versions: Sequence[AdapterSpec], calm_s: float) -> None:
    """All that can happen to a name, with some traffic between any two changes. The first version is live already."""
    first, second, third = versions[:3]
    await asyncio.sleep(calm_s)
    await admin.add("add second as canary of 10 %", second, canary=0.1)
    await asyncio.sleep(2 * calm_s)
    await admin.patch("canary to 50 %", canary=0.5)
    await asyncio.sleep(calm_s)
    await admin.patch("promote", promote=True)
    await asyncio.sleep(calm_s)
    await admin.patch("roll back", rollback=True)
    await asyncio.sleep(calm_s)
    await admin.add("add third, staged", third)
    await asyncio.sleep(calm_s)
    await admin.patch("pin", pin=True)
    await admin.patch("promote third", promote=third.version)
    await asyncio.sleep(calm_s)
    await admin.remove("remove")
    await asyncio.sleep(calm_s)
    await admin.add("add first again", first, live=True)
    await asyncio.sleep(calm_s)
    await admin.add("add second again, live", second, live=True)
    await asyncio.sleep(calm_s)
