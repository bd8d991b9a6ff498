"""Set-ups that are wrong in one way each: the item that is about it fails, and no check breaks."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.load import Ask, Outcomes, summarise
from bench.load.client import Outcome
from serve_app.adapters import shipped
from serve_app.checklist import run
from serve_app.checklist.checks import all_checks
from serve_app.checklist.records import Records
from serve_app.confidence.policy import write
from tests.unit.checklist.asking import items_of
from tests.unit.checklist.conftest import FactsOf
from tests.unit.confidence.synthetic import policy


def write_rows(file: Path, texts: list[str], **more: str) -> str:
    file.write_text("".join(json.dumps({"text": text, **more}) + "\n" for text in texts))
    return str(file)


async def test_the_demo_passes_with_warnings(facts_of: FactsOf) -> None:
    items = await items_of(facts_of(profile="demo"))
    assert len(items) >= 30
    assert not [item for item in items.values() if item.status == "fail" and item.id != "training.weights"]
    warnings = [item for item in items.values() if item.status == "warn"]
    assert {"security.keys", "cost.budgets", "cascade.guarantee"} <= {item.id for item in warnings}
    assert all(item.fix for item in warnings)


async def test_leaky_data(facts_of: FactsOf, tmp_path: Path) -> None:
    texts = [f"What is the {number}th rule of the {number * 7}th club in town {number * 13}?" for number in range(200)]
    train = write_rows(tmp_path / "train.jsonl", texts[:150])
    clean = write_rows(tmp_path / "clean.jsonl", ["Where do penguins sleep at night?"])
    leaky = write_rows(tmp_path / "leaky.jsonl", [texts[3].upper(), "Where do penguins sleep at night?"])
    files = [{"checklist": {"data": {"legal": {"train": train, "test": test}}}} for test in (clean, leaky)]
    good, bad = [await items_of(facts_of(changes, profile="demo")) for changes in files]
    assert (good["data.leakage"].status, bad["data.leakage"].status) == ("pass", "fail")
    assert bad["data.leakage"].evidence.startswith("1 of the 2 test rows")


async def test_few_and_personal_rows_without_a_licence(facts_of: FactsOf, tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", ["Write to ada@example.org, she knows about penguins."] * 3, label="x")
    items = await items_of(facts_of({"checklist": {"data": {"support": {"train": train}}}}))
    assert {name: items[f"data.{name}"].status for name in ("size", "licence", "personal", "duplicates")} == {
        "size": "fail",
        "licence": "fail",
        "personal": "warn",
        "duplicates": "warn",
    }


def copied(tmp_path: Path, **changes: Any) -> Path:
    """A shipped adapter with changed files."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    for file in shipped("code").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for name, change in changes.items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return folder


async def test_an_adapter_that_is_not_finite(facts_of: FactsOf, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    file = folder / "adapter_model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-2:] = b"\xc0\x7f"  # bfloat16 not-a-number
    file.write_bytes(raw)
    items = await items_of(facts_of({"adapters": {"code": {"path": str(folder)}}}))
    assert items["training.weights"].status == "fail"
    assert "holds NaN or infinity" in items["training.weights"].evidence


async def test_an_adapter_of_an_unknown_base_and_one_that_did_not_learn(facts_of: FactsOf, tmp_path: Path) -> None:
    metrics = json.loads((shipped("code") / "metrics.json").read_text())
    folder = copied(
        tmp_path,
        headrace={"base_digest": None},
        metrics={
            "training": metrics["training"] | {"last_loss": 9.0},
            "evaluation": [row | {"better": False, "high": -0.1, "metric": "exact"} for row in metrics["evaluation"]],
        },
    )
    items = await items_of(facts_of({"adapters": {"code": {"path": str(folder)}}}))
    assert items["training.base_digest"].status == "fail"
    assert items["training.loss"].status == "fail"
    assert items["evaluation.held_out"].status == "fail"


async def test_an_adapter_that_is_not_there(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"adapters": {"code": {"path": "nowhere"}}}))
    assert items["training.weights"].status == "fail"
    assert "nowhere" in items["training.weights"].evidence


@pytest.mark.parametrize(
    ("created", "status"), [("2020-01-01T00:00:00+00:00", "fail"), (None, "warn"), ("now", "pass")]
)
async def test_a_calibration_that_is_stale(facts_of: FactsOf, tmp_path: Path, created: str | None, status: str) -> None:
    created = datetime.now(UTC).isoformat() if created == "now" else created
    fitted = policy()
    provenance = fitted.provenance.model_copy(update={"created": created})
    write(fitted.model_copy(update={"provenance": provenance}), tmp_path / "p")
    items = await items_of(facts_of({"cascade": {"policy": "p"}}))
    assert items["cascade.calibration_age"].status == status
    assert items["cascade.covers"].status == "warn", "it was fitted for a version that is not served"
    gone = await items_of(facts_of({"cascade": {"policy": "q"}}))
    assert gone["cascade.calibration_age"].status == "fail"


async def test_no_budget_and_no_keys(facts_of: FactsOf) -> None:
    items = await items_of(facts_of())
    assert items["cost.budgets"].status == items["security.keys"].status == items["security.admin"].status == "fail"
    key = {"gateway": {"admin_keys": {"ada": "correct horse"}, "api_keys": {"bob": "correct horse"}}}
    assert (await items_of(facts_of(key)))["security.admin"].status == "fail"


async def test_open_to_the_network_without_a_key(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"gateway": {"host": "0.0.0.0"}}))
    assert items["security.network"].status == "fail"


@pytest.mark.parametrize(
    ("deployment", "machines", "said"),
    [
        ({"num_gpus": 1.5}, [{"num_cpus": 8, "num_gpus": 4}], "whole ones"),
        ({"num_gpus": 0.5}, [{"num_cpus": 8}], "No machine has"),
        ({"num_cpus": 16}, [{"num_cpus": 8, "num_gpus": 1}], "No machine has"),
    ],
)
async def test_a_share_of_a_gpu_that_cannot_be_placed(
    facts_of: FactsOf, deployment: dict[str, float], machines: list[dict[str, float]], said: str
) -> None:
    changes = {"deployments": {"specialists": deployment}, "checklist": {"machines": machines}}
    items = await items_of(facts_of(changes))
    assert items["serving.fits"].status == "fail"
    assert said in items["serving.fits"].evidence


async def test_routes_that_the_router_never_takes(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"routes": {"adapters": {"legall": "legal"}}}))
    assert items["routing.routes"].status == "fail"
    assert "legall" in items["routing.routes"].evidence


async def test_no_audit(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"cascade": {"watch": {"audit_share": 0}}}))
    assert items["cascade.audit"].status == "fail"


async def test_a_ledger_that_cannot_be_read_is_not_passed_over(facts_of: FactsOf, tmp_path: Path) -> None:
    assert (await items_of(facts_of({"ledger": {"url": "none.sqlite3"}})))["cost.saved"].status == "not_applicable"
    (tmp_path / "ledger.sqlite3").write_text("this is no database, whatever its name says" * 100)
    items = await items_of(facts_of({"ledger": {"url": "ledger.sqlite3"}}))
    assert items["cost.saved"].status == items["cost.lost"].status == items["security.keys"].status == "fail"
    assert "could not be looked at" in items["cost.saved"].evidence


async def test_a_router_that_is_not_there_is_named(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"router": {"artifact": "nowhere"}}))
    assert {items[f"routing.{name}"].status for name in ("accuracy", "accuracy_ood", "abstention", "routes")} == {
        "fail"
    }
    assert "nowhere is no router" in items["routing.accuracy"].evidence
    assert items["data.balance"].status == "not_applicable"


async def test_the_routers_figure_is_of_its_own_floor(facts_of: FactsOf) -> None:
    own = (await items_of(facts_of()))["routing.abstention"].evidence
    other = (await items_of(facts_of({"router": {"floor": 0.95}})))["routing.abstention"].evidence
    assert ("of known queries" in own, "of known queries" in other) == (True, False)


@pytest.mark.parametrize(
    ("report", "text", "said"),
    [
        ("metrics", "{", "metrics.json cannot be read"),
        ("metrics", '{"options": null}', "metrics.json: options"),
        ("metrics", '{"evaluation": [{"group": "x"}]}', "metrics.json: evaluation.0"),
        ("gate", "[]", "gate.json: the whole"),
    ],
)
async def test_a_damaged_report_is_named(facts_of: FactsOf, tmp_path: Path, report: str, text: str, said: str) -> None:
    folder = copied(tmp_path)
    (folder / f"{report}.json").write_text(text)
    items = await items_of(facts_of({"adapters": {"code": {"path": str(folder)}}}))
    item = items["evaluation.held_out" if report == "metrics" else "evaluation.regression"]
    assert (item.status, said in item.evidence) == ("fail", True)


async def test_rows_that_nobody_can_look_at_are_a_warning_in_production(facts_of: FactsOf, tmp_path: Path) -> None:
    own = {"adapters": {"code": {"path": str(copied(tmp_path))}}}
    production, demo = await items_of(facts_of(own)), await items_of(facts_of(own, profile="demo"))
    shipped_only = await items_of(facts_of())
    names = [f"data.{name}" for name in ("duplicates", "leakage", "personal")]
    assert {shipped_only[name].status for name in names} == {"not_applicable"}
    assert {production[name].status for name in names} == {"warn"}
    assert {demo[name].status for name in names} == {"not_applicable"}


async def test_without_machines_nothing_fits(facts_of: FactsOf) -> None:
    assert (await items_of(facts_of({"checklist": {"machines": []}})))["serving.fits"].status == "warn"
    several = {"deployments": {"gateway": {"min_replicas": 2, "max_replicas": 2, "max_per_node": 2}}}
    assert (await items_of(facts_of(several)))["reliability.spread"].status == "warn"


async def test_a_secret_in_the_settings_file(facts_of: FactsOf, tmp_path: Path) -> None:
    facts = facts_of({"ledger": {"url": "postgresql://ada:correct-horse@127.0.0.1:1/ledger"}})
    facts.settings_file = tmp_path / "s.yaml"
    facts.settings_file.write_text("ledger: {url: 'postgresql://ada:correct-horse@127.0.0.1:1/ledger'}")
    look = next(check for check in all_checks() if check.id == "security.secrets")
    (item,) = await run(facts, [look])
    assert (item.status, "correct-horse" in item.evidence) == ("fail", False)
    facts.settings_file.write_text("ledger: {url: !env LEDGER_URL}")
    assert (await run(facts, [look]))[0].status == "pass"


async def test_prices_are_compared_as_they_are_in_force(facts_of: FactsOf) -> None:
    same = {"prefill_tokens_per_s": "100", "decode_tokens_per_s": "100"}
    small, large = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"
    change = {"version": "later", "effective_from": "2026-01-01", "models": {large: {"usd_per_call": "9"}}}
    prices = {"version": "first", "models": {small: same, large: same}, "changes": []}
    assert (await items_of(facts_of({"prices": prices})))["cost.prices"].status == "warn"
    assert (await items_of(facts_of({"prices": prices | {"changes": [change]}})))["cost.prices"].status == "pass"
    assert (await items_of(facts_of({"prices": prices})))["cost.price_age"].status == "warn"


async def test_records_that_are_old_or_say_that_it_failed(facts_of: FactsOf) -> None:
    facts = facts_of()
    records = Records(facts.records.folder)
    records.write("backup", {"note": "pg_dump"}, at_s=time.time() - 10 * 86_400)
    records.write("chaos", {"missing": 2, "duplicate": 0})
    records.write("load_test", {"first_text_p99_s": 9.0, "rate_per_s": 20})
    records.write("safety", {"num_asked": 10, "num_refused": 7})
    items = await items_of(facts)
    assert items["reliability.backup"].status == "fail"
    assert items["reliability.chaos"].status == "fail"
    assert items["serving.load_test"].status == "fail"
    assert items["evaluation.safety"].status == "fail"
    records.write("safety", {"num_asked": 100, "num_refused": 99}, at_s=time.time() + 1)
    assert (await items_of(facts))["evaluation.safety"].status == "warn"
    records.write("safety", {"num_asked": 10, "num_refused": 10}, at_s=time.time() - 400 * 86_400)
    records.write("backup", {"note": "pg_dump"})
    records.write("chaos", {"missing": 0, "duplicate": 0}, at_s=time.time() + 1)
    records.write("load_test", {"first_text_p99_s": 1.0, "rate_per_s": 20}, at_s=time.time() + 1)
    items = await items_of(facts)
    assert items["reliability.backup"].status == "pass"
    assert items["reliability.chaos"].status == "pass"
    assert items["serving.load_test"].status == "pass"
    assert "an untold share answered" in items["serving.load_test"].evidence
    records.write("chaos", {"missing": 0, "duplicate": 0, "differing": 40}, at_s=time.time() + 2)
    assert "differing is 40" in (await items_of(facts))["reliability.chaos"].evidence
    records.write("chaos", {"note": "it went well"}, at_s=time.time() + 3)
    assert "does not tell missing and duplicate" in (await items_of(facts))["reliability.chaos"].evidence


@pytest.mark.parametrize(
    ("num_refused", "first_text_s", "status"),
    [(0, 0.5, "pass"), (0, 9.0, "fail"), (10, 0.5, "fail"), (100, 0.5, "fail")],
)
async def test_a_load_test_is_read_as_the_bench_writes_it(
    facts_of: FactsOf, num_refused: int, first_text_s: float, status: str
) -> None:
    answered = [
        Outcome(Ask(), at_s, sent_s=at_s, status=200, first_text_s=at_s + first_text_s, done_s=at_s + 10.0)
        for at_s in range(100 - num_refused)
    ]
    refused = [Outcome(Ask(), 99.0, sent_s=99.0, status=429, done_s=99.1) for _ in range(num_refused)]
    facts = facts_of()
    facts.records.write("load_test", summarise(Outcomes((*answered, *refused), 100.0, 0.0)))
    assert (await items_of(facts))["serving.load_test"].status == status


async def test_texts_of_all_keys_kept_as_they_are(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"ledger": {"texts": {"store": True}}}))
    assert items["compliance.texts"].status == "warn"


async def test_a_prometheus_that_is_not_there(facts_of: FactsOf) -> None:
    items = await items_of(facts_of({"checklist": {"prometheus_url": "http://127.0.0.1:9"}}))
    assert items["observability.metrics"].status == items["observability.alerts"].status == "fail"
