"""The page's own modules, asked one by one in the browser."""

from typing import Any

import pytest
from playwright.sync_api import Page


@pytest.fixture
def call(page: Page, busy) -> Any:
    """Calls an exported function of one of the page's modules."""
    page.goto(f"{busy.url}/dashboard")

    def run(module: str, function: str, *arguments: Any) -> Any:
        code = "async ([module, name, args]) => (await import(`./dashboard/${module}.js`))[name](...args)"
        return page.evaluate(code, [module, function, list(arguments)])

    return run


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("usd", 0, "$0"),
        ("usd", 12345.6, "$12,346"),
        ("usd", 12.3456, "$12.35"),
        ("usd", 0.0123, "$0.0123"),
        ("usd", 1.5449e-6, "$0.00000154"),
        ("usd", -0.5, "−$0.5000"),
        ("usd", None, "–"),
        ("share", 0.1234, "12.3 %"),
        ("share", 0, "0 %"),
        ("share", 1, "100 %"),
        ("share", 0.9999, "> 99.9 %"),
        ("share", 0.0001, "< 0.1 %"),
        ("share", -0.25, "−25.0 %"),
        ("share", None, "–"),
        ("duration", 0.4, "0.40 ms"),
        ("duration", 12.34, "12.3 ms"),
        ("duration", 999.4, "999 ms"),
        ("duration", 2345, "2.35 s"),
        ("duration", 75_000, "75 s"),
        ("bytes", 0, "0 B"),
        ("bytes", 5_000_000, "4.8 MiB"),
        ("about", 9_999, "9,999"),
        ("about", 12_345_678, "12.3M"),
    ],
)
def test_figures_are_written(call, function, value, text) -> None:
    assert call("format", function, value).replace("\u202f", " ") == text


def test_amounts_beside_each_other_have_the_same_decimals(call) -> None:
    assert call("format", "usdBeside", 0.6126, 19.76) == "$0.61"
    assert call("format", "usdBeside", 0.0001, 19.76) == "$0.0001"


def test_hours_are_added_up_into_the_steps_of_a_range(page: Page, call) -> None:
    code = """async () => {
      const { rangeOf, perStep } = await import("./dashboard/ranges.js");
      return ["day", "week", "month"].map((name) => {
        const range = rangeOf(name, Date.now());
        const group = (hour) => ({ hour, queries: 1, cost_usd: 1, always_large_usd: 2, escalated: 0 });
        const hours = [];
        for (let hour = range.since; hour * 1000 <= Date.now(); hour += 3600) hours.push(group(hour));
        const steps = perStep(range, hours);
        const counts = steps.map((step) => step.queries);
        return [hours.length, counts.reduce((sum, count) => sum + count, 0), Math.min(...counts)];
      });
    }"""
    for num_hours, num_summed, least in page.evaluate(code):
        assert num_hours == num_summed
        assert least >= 1


def audit(number: int, wrong: int, epoch: int = 0) -> dict[str, Any]:
    counts = {"num_audited": number, "num_wrong": wrong, "num_not_scored": 1, "num_stale": 0}
    return {
        "target": 0.05,
        "epoch": epoch,
        **counts,
        "log_e_value": 0.5,
        "log_alarm": 3.0,
        "risk_low": 0,
        "risk_high": 1,
    }


def status(gateway: str, state: str, **found: Any) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "routes": [{"route": "legal", "adapter": "legal", "state": state, "audit": audit(**found)}],
    }


def test_what_several_gateways_found_is_put_together(call) -> None:
    statuses = [status("a", "ok", number=40, wrong=1), status("b", "breached", number=60, wrong=9)]
    (route,) = call("gateways", "routesOf", statuses)
    assert route["state"] == "breached"
    assert (route["audit"]["num_audited"], route["audit"]["num_wrong"]) == (100, 10)
    assert route["audit"]["log_e_value"] == 1.0


def test_evidence_of_another_epoch_is_not_added(call) -> None:
    statuses = [status("a", "ok", number=40, wrong=1), status("b", "ok", number=60, wrong=9, epoch=1)]
    (route,) = call("gateways", "routesOf", statuses)
    assert route["audit"]["log_e_value"] == 0.5


def test_a_loss_has_no_savings_to_share(call) -> None:
    totals = {"cost_usd": 3, "saved_by": {"cascade": -1.5, "cache": 0.5, "prefix": 0, "tier": 0}}
    parts = {part["part"]: part["usd"] for part in call("money", "partsOf", totals)}
    assert parts == {"paid": 3, "cascade": -1.5, "cache": 0.5}
