"""What a running server and its database show, beside the settings."""

import time
from pathlib import Path
from typing import Any

import pytest

from serve_app.confidence.policy import write
from serve_app.keys import Key, KeyStore
from serve_app.ledger import SqlLedger
from tests.unit.checklist.asking import items_of
from tests.unit.checklist.conftest import FactsOf
from tests.unit.confidence.synthetic import policy

LIVE = {
    "cascade.audit": "fail",
    "cascade.drift": "fail",
    "cost.saved": "fail",
    "cost.lost": "fail",
    "routing.latency": "warn",
    "security.keys": "fail",
    "security.network": "pass",
    "serving.ready": "fail",
    "training.served": "warn",
    "reliability.rollback": "fail",
}


async def test_a_breached_and_drifting_cascade(facts_of: FactsOf) -> None:
    pages = live(
        route("breached", 0.4, "major"), adapters={"legal": None, "medical": None, "code": "0" * 12, "new": "1"}
    )
    pages |= {
        "/readyz": {"status": "not ready", "nodes": {"specialists": "no answer"}},
        "/v1/ledger/queries?limit=200": {
            "data": [{"attempts": [{"role": "router", "outcome": "accepted", "ms": 80.0}]}] * 3
        },
        "/v1/ledger/stats?since=30d": {
            "totals": {"queries": 1000, "saved_share": 0.1, "escalation_rate": 0.9, "lost": 50}
        },
    }
    now_s = time.time()
    pages["/v1/status"]["registry"] = {}
    pages["/v1/adapters/audit?limit=1000"] = {
        "data": [
            {"action": "promote", "name": "legal", "at": now_s, "actor": "ada"},
            {"action": "rollback", "name": "legal", "at": now_s, "actor": "canary"},
            {"action": "rollback", "name": "legal", "at": now_s - 400 * 86_400, "actor": "ada"},
        ]
    }
    items = await items_of(facts_of(pages=pages))
    statuses = {name: items[name].status for name in LIVE}
    assert statuses == LIVE
    assert "new is served and not in the settings" in items["training.served"].evidence
    assert "code is served in another version" in items["training.served"].evidence
    pages["/v1/adapters/audit?limit=1000"]["data"].append(
        {"action": "rollback", "name": "code", "at": now_s, "actor": "ada"}
    )
    assert (await items_of(facts_of(pages=pages)))["reliability.rollback"].status == "pass"


def route(state: str, psi: float | None, level: str, num_not_scored: int = 0) -> dict[str, Any]:
    """Of `/v1/status`."""
    signal = {"signal": "confidence", "level": level, "psi": psi}
    return {
        "route": "legal",
        "state": state,
        "audit": {"num_audited": 9, "num_not_scored": num_not_scored, "drift": [signal]},
    }


def live(*routes: dict[str, Any], adapters: dict[str, str | None] | None = None, role: str = "open") -> dict[str, Any]:
    """Pages of a running server with nothing in its ledger."""
    served = {"legal": None, "medical": None, "code": None} if adapters is None else adapters
    return {
        "/v1/status": {
            "viewer": {"role": role},
            "registry": None,
            "routes": list(routes),
            "adapters": [{"name": name, "version": version} for name, version in served.items()],
        },
        "/readyz": {"status": "ready", "nodes": {"ledger": "ok"}},
        "/v1/ledger/queries?limit=200": {"data": []},
        "/v1/ledger/stats?since=30d": {
            "totals": {"queries": 0, "saved_share": None, "escalation_rate": None, "lost": 0}
        },
    }


@pytest.mark.parametrize(
    ("psi_alert", "seen", "status"),
    [
        (0.15, route("drifting", 0.2, "moderate"), "fail"),
        (0.5, route("ok", 0.3, "major"), "pass"),
        (0.25, route("ok", 0.05, "stable"), "pass"),
        (0.25, route("ok", None, "unknown"), "not_applicable"),
        (0.25, {"route": "legal", "state": "no_target", "audit": None}, "not_applicable"),
    ],
)
async def test_drift_is_judged_by_the_servers_own_bound(
    facts_of: FactsOf, psi_alert: float, seen: dict[str, Any], status: str
) -> None:
    items = await items_of(facts_of({"cascade": {"watch": {"psi_alert": psi_alert}}}, pages=live(seen)))
    assert items["cascade.drift"].status == status


async def test_audits_that_nobody_makes_or_scores(facts_of: FactsOf, tmp_path: Path) -> None:
    plain = await items_of(facts_of())
    assert (plain["cascade.audit"].status, plain["cascade.guarantee"].status) == ("fail", "fail")
    write(policy(), tmp_path / "p")
    fitted = await items_of(facts_of({"cascade": {"policy": "p"}}))
    assert fitted["cascade.audit"].status == "pass"
    dumb = await items_of(facts_of(pages=live(route("ok", 0.0, "stable", num_not_scored=10))))
    assert dumb["cascade.audit"].status == "warn"
    assert "10 of 19 audits of legal" in dumb["cascade.audit"].evidence
    nobody = await items_of(facts_of(pages=live({"route": "legal", "state": "no_target", "audit": None})))
    assert nobody["cascade.audit"].status == "fail"


async def test_a_policy_that_was_fitted_to_a_budget_promises_nothing(facts_of: FactsOf, tmp_path: Path) -> None:
    fitted = policy()
    routes = tuple(one.model_copy(update={"alpha": None, "risk_bound": None}) for one in fitted.routes)
    write(fitted.model_copy(update={"routes": routes}), tmp_path / "p")
    items = await items_of(facts_of({"cascade": {"policy": "p"}}))
    assert items["cascade.guarantee"].status == "warn"
    assert items["cascade.audit"].status == "fail"
    held = await items_of(facts_of({"cascade": {"policy": "p", "watch": {"alpha": 0.1}}}))
    assert held["cascade.audit"].status == "pass"


async def test_an_admin_key_of_the_settings_is_one_whatever_the_database_says(
    facts_of: FactsOf, tmp_path: Path
) -> None:
    (tmp_path / "ledger.sqlite3").write_text("this is no database, whatever its name says" * 100)
    changes = {"ledger": {"url": "ledger.sqlite3"}, "gateway": {"admin_keys": {"ada": "correct horse"}}}
    items = await items_of(facts_of(changes))
    assert items["security.keys"].status == items["security.admin"].status == "pass"
    assert "others were not seen" in items["security.keys"].evidence


async def test_keys_that_are_stored_count(facts_of: FactsOf, tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.sqlite3")
    await ledger.open()
    await KeyStore(ledger.store).create(Key("ada", "admin"))
    await ledger.close()
    changes = {"ledger": {"url": "ledger.sqlite3"}, "gateway": {"host": "0.0.0.0"}}
    items = await items_of(facts_of(changes))
    assert [items[f"security.{name}"].status for name in ("keys", "admin", "network")] == ["pass", "pass", "warn"]
    asked = await items_of(facts_of({"gateway": {"host": "0.0.0.0"}}, pages=live(role="user")))
    assert [asked[f"security.{name}"].status for name in ("keys", "admin", "network")] == ["pass", "fail", "warn"]
