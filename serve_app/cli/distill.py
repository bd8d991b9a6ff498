"""`headrace distill`: from escalated queries to the next version of an adapter, stage by stage or in one go."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.options import Json
from serve_app.core import HeadraceError

if TYPE_CHECKING:
    from serve_app.cli.training_progress import TrainingProgress
    from serve_app.config import Settings
    from serve_app.distill.pipeline import Captured, Pipeline
    from serve_app.distill.plan import Plan
    from serve_app.distill.stages import Done
    from serve_app.store import Store
    from serve_app.training.cascade import Prices

app = typer.Typer(help="Train the small model on the large one's answers to escalated queries.", no_args_is_help=True)

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="YAML file; docs/distillation.md has every key.")]
Folder = Annotated[Path, typer.Option(help="Folder of the run; one that was broken off goes on, stage by stage.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads: what serving beside it can spare.")]
Config = Annotated[
    str | None,
    typer.Option(help="Settings file with ledger and prices, or a packaged profile; default: HEADRACE_CONFIG."),
]


@app.command()
def export(plan: PlanFile, folder: Folder, threads: Threads = 1, config: Config = None, as_json: Json = False) -> None:
    """Write the escalated queries that may be used, near-duplicates removed, and say what was left out and why."""
    _done(plan, folder, threads, config, as_json, lambda pipeline: pipeline.export(), _exported)


@app.command()
def train(plan: PlanFile, folder: Folder, threads: Threads = 1, config: Config = None, as_json: Json = False) -> None:
    """Export, rate the answers, split, and train the new version."""
    _done(plan, folder, threads, config, as_json, lambda pipeline: pipeline.train(), _trained)


@app.command()
def gate(plan: PlanFile, folder: Folder, threads: Threads = 1, config: Config = None, as_json: Json = False) -> None:
    """Do what `train` does, then compare the new version with the live one. Exit code 1 where it is refused."""
    done = _done(plan, folder, threads, config, as_json, lambda pipeline: pipeline.gate(), _gated)
    if not done.figures["passed"]:
        raise typer.Exit(1)


@app.command()
def run(
    plan: PlanFile,
    folder: Folder,
    threads: Threads = 1,
    every: Annotated[
        str | None,
        typer.Option(help="Begin a run so often, as 24h or 30m, each in a folder of its own, until interrupted."),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """All stages; a version that passes the gate becomes a canary of the server in publish.url.

    Exit code 1 where the gate refuses it. With --every a run that fails or is refused is said, and the next one comes.
    """
    if every is not None:
        _repeat(plan, folder, threads, _seconds(every), config, as_json)
        return
    done = _done(plan, folder, threads, config, as_json, _all_stages, _published)
    if not done.figures["gate"]["passed"]:
        raise typer.Exit(1)


def _repeat(plan: Path, folder: Path, threads: int, every_s: float, config: str | None, as_json: bool) -> None:
    """Runs by the clock: the next one begins `every_s` after the last began, or at once where that took longer."""
    from serve_app.config import load
    from serve_app.distill.plan import read_plan

    read_plan(plan)  # a mistake that is there now is there every time
    load(config)
    while True:
        begun_s = time.time()
        name = datetime.fromtimestamp(begun_s, UTC).strftime("%Y-%m-%dT%H%M%SZ")
        try:
            _done(plan, folder / name, threads, config, as_json, _all_stages, _published)
        except (HeadraceError, OSError, typer.BadParameter) as error:
            typer.echo(f"headrace: the run {name} ended: {error}", err=True)
        time.sleep(max(0.0, begun_s + every_s - time.time()))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no duration; write it like 24h or 30m", param_hint="--every")
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


async def _all_stages(pipeline: Pipeline) -> Done:
    from dataclasses import replace

    published = await pipeline.publish()
    gated, exported = await pipeline.gate(), await pipeline.export()  # done: these only read their records
    return replace(published, figures={"publish": published.figures, "gate": gated.figures, "export": exported.figures})


def _done(
    plan_file: Path,
    folder: Path,
    threads: int,
    config: str | None,
    as_json: bool,
    stage: Callable[[Pipeline], Awaitable[Done]],
    told: Callable[[dict[str, Any]], str],
) -> Done:
    """Do the stages up to one, and print its figures."""
    from serve_app.cli.training_progress import TrainingProgress, use_torch
    from serve_app.config import load
    from serve_app.distill.plan import read_plan

    plan = read_plan(plan_file)
    settings = load(config)
    use_torch(threads, plan.train.device)
    with TrainingProgress(visible=not as_json) as progress:
        pipeline = _pipeline(plan, folder, threads, settings, progress)
        done = asyncio.run(_awaited(stage(pipeline)))
    typer.echo(json.dumps(done.figures) if as_json else told(done.figures))
    return done


async def _awaited(work: Awaitable[Done]) -> Done:
    return await work


def _pipeline(plan: Plan, folder: Path, threads: int, settings: Settings, progress: TrainingProgress) -> Pipeline:
    from serve_app.catalogue import resolve
    from serve_app.distill.answers import LocalAnswerer
    from serve_app.distill.lora import LoraTrainer
    from serve_app.distill.pipeline import Models, Pipeline

    base, kept = resolve(plan.base), folder / "answers"  # texts: who deletes the run deletes them too
    models = Models(
        base=base,
        small=lambda version: LocalAnswerer(base, version, threads, cache=kept),
        large=LocalAnswerer(resolve(plan.large), threads=threads, cache=kept),
        train=LoraTrainer(base, plan.train, progress),
        prices=_prices(plan, settings),
    )
    return Pipeline(plan, folder, models, _captured(plan, settings), progress.stage)


def _captured(plan: Plan, settings: Settings) -> Captured:
    from serve_app.cli.period import opened, period
    from serve_app.distill.pipeline import Captured
    from serve_app.ledger.texts import Wanted

    since_s, until_s = period(plan.source.since, plan.source.until)

    def store() -> AbstractAsyncContextManager[Store]:
        return opened(settings.ledger.url)

    wanted = Wanted(since_s, until_s, escalated=True, route=plan.route)
    return Captured(store, settings.ledger.texts, wanted)


def _prices(plan: Plan, settings: Settings) -> Prices | None:
    """Of the plan's two models, where the settings price both by the token."""
    from serve_app.ledger.rates import token_rates
    from serve_app.training.cascade import Prices

    known = settings.prices.models
    if plan.base not in known or plan.large not in known:
        return None
    small, large = token_rates(known[plan.base]), token_rates(known[plan.large])
    return Prices(
        small.prompt / small.denominator,
        small.completion / small.denominator,
        large.prompt / large.denominator,
        large.completion / large.denominator,
    )


def _exported(figures: dict[str, Any]) -> str:
    left = ", ".join(f"{count:,} {why}" for why, count in figures["dropped"].items())
    return f"{figures['rows']:,} escalated queries to learn from" + (f"; left out: {left}." if left else ".")


def _trained(figures: dict[str, Any]) -> str:
    begun = f", from version {figures['from']}" if figures["from"] else ""
    return (
        f"Version {figures['version']} trained on {figures['rows']:,} rows{begun}: loss {figures['first_loss']:.3f} to "
        f"{figures['last_loss']:.3f} in {figures['busy_s']:.0f} s."
    )


def _gated(figures: dict[str, Any]) -> str:
    lines = [f"{'passed ' if check['passed'] else 'REFUSED'}  {check['name']}: {check['found']}"
             for check in figures["checks"]]  # fmt: skip
    before, after = figures["before"], figures["after"]
    lines.append(
        f"Version {figures['version']}, on {after['num_rows']} {figures['estimated_on']}: escalated "
        f"{before['escalation']:.1%} -> {after['escalation']:.1%}, risk {_share(before['risk'])} -> "
        f"{_share(after['risk'])}, saved {_share(before['saved'])} -> {_share(after['saved'])}."
    )
    return "\n".join(lines)


def _published(figures: dict[str, Any]) -> str:
    told = figures["publish"]
    where = f"It is a {told['state']} of the server." if told["published"] else f"Not published: {told['why']}."
    return f"{_exported(figures['export'])}\n{_gated(figures['gate'])}\n{where}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
