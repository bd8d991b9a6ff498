"""Three times what the engines can do, offered to a real graph: what is still answered in time, and who is refused.

    python -m bench.cluster.overload [--quick] [--json FILE]

The graph is started by its launcher, with two gateways and scripted engines of known capacity (`bench.cluster.known`),
and limits itself by `gateway.admission`. First the peak is found: the goodput at rates around the capacity. Then three
times the best rate is offered; what comes before the limit has settled is reported apart. Goodput counts answers whose
first text came within the SLO, from the time at which the request was to be sent (`bench.load`).
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import yaml

from bench.chaos.graph import running
from bench.cluster.alone import run_alone
from bench.cluster.known import HOLD_S
from bench.load import Ask, OpenLoop, Outcomes, Slo, poisson, summarise
from bench.load.summary import grouped
from serve_app.config import profiles

SLO_S, TARGET_S = 2.0, 1.2
"""To the first text: what counts as good for a client, and what the gateways aim at: less, since clients also wait
before the gateway, and for the end of a whole answer."""
NUM_ROWS, MAX_WAITING = 8, 64
CAPACITY = NUM_ROWS / HOLD_S
_TIERS = {"flex": 0.2, "default": 0.6, "priority": 0.2}
_RATES = (0.9, 1.0, 1.1)
"""Of the capacity, when the peak is looked for."""
_ASKS = tuple(
    Ask(model, stream=stream, tier=tier, weight=share * part)  # type: ignore[arg-type]
    for tier, share in _TIERS.items()
    for model, stream, part in (("auto", True, 0.4), ("base", True, 0.4), ("base", False, 0.2))
)


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """`goodput_at_3x` is the share of the peak goodput that is left at three times its rate."""
    log = folder / "overload.log"
    with running(_settings(folder), log) as graph:
        return asyncio.run(_measure(graph.url, quick))


def _settings(folder: Path) -> Path:
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    engine = {"engine": "bench.cluster.known:queueing", "max_rows": NUM_ROWS, "max_waiting": MAX_WAITING}
    settings["specialists"] |= engine
    settings["fallback"] |= engine
    settings["ledger"] = {
        "url": f"sqlite:///{folder}/overload.sqlite3",
        "journal": {"folder": str(folder / "journals")},
    }
    settings["gateway"] |= {"admission": {"target_first_token_s": TARGET_S}}
    settings["deployments"]["gateway"] |= {"min_replicas": 2, "max_replicas": 2}
    file = folder / "overload.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


async def _measure(url: str, quick: bool) -> dict[str, Any]:
    seconds, settle_s = (10.0, 20.0) if quick else (30.0, 30.0)
    slo = Slo(first_text_s=SLO_S)
    await _offer(url, 2.0, CAPACITY / 4, seed=0)  # connections, first calls
    at_rates = {}
    for number, part in enumerate(_RATES):
        outcomes = await _offer(url, seconds, part * CAPACITY, seed=number)
        at_rates[part] = _short(summarise(outcomes, slo))
    peak = max(figures["goodput_per_s"] for figures in at_rates.values())
    best = max(at_rates, key=lambda part: at_rates[part]["goodput_per_s"])
    overload = await _offer(url, settle_s + 2 * seconds, 3 * best * CAPACITY, seed=9)
    settled = summarise(overload, slo, skip_s=settle_s)
    tiers = {tier: _short(summarise(part, slo, settle_s)) for tier, part in grouped(overload, _tier).items()}
    refused = settled["refused"]
    return {
        "goodput_at_3x": round(settled["goodput_per_s"] / peak, 3),
        "peak_goodput_per_s": peak,
        "engine_capacity_per_s": CAPACITY,
        "slo_first_text_s": SLO_S,
        "target_first_token_s": TARGET_S,
        "admitted_first_text_ms": settled["first_text_ms"],
        "refused_share": round(refused / max(1, settled["sent"]), 3),
        "refused_with_retry_after_share": settled["refused_with_retry_after"] / max(1, refused),
        "retry_after_s": _waits(overload, settle_s),
        "other_failures": settled["failed_before_first_text"] + settled["failed_after_first_text"],
        "settled": _short(settled),
        "before_it_settled": _short(summarise(_first(overload, settle_s), slo)),
        "by_tier": tiers,
        "at_rates": at_rates,
        "load_1min_after": round(os.getloadavg()[0], 2),
    }


async def _offer(url: str, seconds: float, rate: float, seed: int) -> Outcomes:
    return await OpenLoop(url, poisson(rate, seconds, seed), _ASKS, seed, timeout_s=20.0).run()


def _tier(outcome: Any) -> str:
    return outcome.ask.tier or "default"


def _first(outcomes: Outcomes, seconds: float) -> Outcomes:
    return Outcomes(tuple(one for one in outcomes.all if one.intended_s < seconds), seconds, outcomes.began_at_s)


def _waits(outcomes: Outcomes, skip_s: float) -> dict[str, float]:
    """The Retry-After that was told, by tier: the median."""
    found: dict[str, list[float]] = {}
    for one in outcomes.all:
        if one.retry_after_s is not None and one.intended_s >= skip_s:
            found.setdefault(_tier(one), []).append(one.retry_after_s)
    return {tier: sorted(waits)[len(waits) // 2] for tier, waits in found.items()}


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name != "by_second"}


if __name__ == "__main__":
    run_alone(__doc__, measure)
