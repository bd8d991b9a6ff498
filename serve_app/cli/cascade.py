"""`headrace cascade`: thresholds that keep a stated quality, what they do on labelled rows, and pictures of it."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.options import Json
from serve_app.core import DataError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from serve_app.confidence.policy import CascadePolicy
    from serve_app.training.cascade import Prices, Table

app = typer.Typer(help="Fit the cascade's thresholds to a stated quality, and measure them.", no_args_is_help=True)

Outcomes = Annotated[Path, typer.Option(help="Labelled attempts, JSONL, plain or .gz.")]
Policy = Annotated[Path, typer.Option(help="File written by `fit`.")]
Config = Annotated[
    str | None, typer.Option(help="Settings file with the prices, or a packaged profile; default: HEADRACE_CONFIG.")
]


@app.command()
def fit(
    outcomes: Outcomes,
    out: Annotated[Path, typer.Option(help="File for the policy; settings key cascade.policy.")],
    alpha: Annotated[float, typer.Option(help="Share of a route's accepted answers that may be wrong.")] = 0.05,
    delta: Annotated[float, typer.Option(help="Probability with which alpha may be missed.")] = 0.1,
    route: Annotated[
        list[str] | None, typer.Option(help="A route's own alpha, as legal=.1; may be given several times.")
    ] = None,
    target: Annotated[
        Literal["right", "no_worse"], typer.Option(help="no_worse: than the large model's answer, by score.")
    ] = "right",
    right_from: Annotated[float, typer.Option(min=0, max=1, help="A score from which an answer is right.")] = 0.5,
    decide: Annotated[
        Literal["prefix", "full"], typer.Option(help="Decide at checkpoints where sure enough, or at the end only.")
    ] = "prefix",
    checkpoint: Annotated[
        list[int] | None, typer.Option(help="Tokens after which to look; may be given several times. Default: 16, 32.")
    ] = None,
    joint: Annotated[bool, typer.Option("--joint", help="Keep all routes' targets together with 1 - delta.")] = False,
    budget_usd: Annotated[
        float | None,
        typer.Option(min=0, help="Instead of alpha: the best quality at this mean price of a query. No guarantee."),
    ] = None,
    skip_small_above: Annotated[
        float | None, typer.Option(min=0, max=1, help="As the settings key of this name, which must then agree.")
    ] = None,
    keep_small_below: Annotated[
        float | None, typer.Option(min=0, max=1, help="As the settings key of this name, which must then agree.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the split into model and threshold part.")] = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fit acceptance models and thresholds; a route whose data cannot support its target is told what it needs.

    The figures printed are of the rows that set the thresholds, which the models have not seen. Exit code 1 where every
    route is refused; the policy, which then escalates all, is written all the same.
    """
    from serve_app.confidence.policy import write
    from serve_app.training.cascade import FitOptions, evaluate, fit_table, read_attempts, tabulate
    from serve_app.training.cascade.budget_fit import fit_budget

    if checkpoint and decide == "full":
        raise typer.BadParameter("nothing is looked at before the end with --decide full", param_hint="--checkpoint")
    if budget_usd is None and config is not None:
        raise typer.BadParameter("prices count with --budget-usd only", param_hint="--config")
    if budget_usd is not None and (route or joint):
        raise typer.BadParameter("a budget promises no risk: leave --route and --joint out", param_hint="--budget-usd")
    if budget_usd == math.inf:
        raise typer.BadParameter("it is no amount", param_hint="--budget-usd")
    options = FitOptions(
        alpha=alpha,
        route_alpha=_targets(route or []),
        delta=delta,
        joint=joint,
        decide=decide,
        checkpoints=tuple(checkpoint) if checkpoint else (16, 32),
        target=target,
        right_from=right_from,
        skip_small_above=skip_small_above,
        keep_small_below=keep_small_below,
        seed=seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    table = tabulate(read_attempts(outcomes), options.stages)
    found = fit_table(table, options) if budget_usd is None else fit_budget(table, options, _prices(config), budget_usd)
    write(found.policy, out)
    figures = evaluate(found.policy, table.take(found.threshold_part))
    if as_json:
        typer.echo(json.dumps({"out": str(out), **figures}))
    else:
        _show(f"Threshold part of {outcomes}", figures)
        _explain(found.policy)
        typer.echo(f"Written to {out}.")
    if budget_usd is None and all(policy.threshold is None for policy in found.policy.routes):
        raise DataError("No route can keep its target with these labels, so the policy escalates all; see above.")


@app.command("evaluate")
def evaluate_command(outcomes: Outcomes, policy: Policy, config: Config = None, as_json: Json = False) -> None:
    """Calibration, separation, accepted share, risk and saving of a policy on labelled rows it was not fitted on."""
    from serve_app.training.cascade import evaluate

    read, table = _read(policy, outcomes)
    figures = evaluate(read, table, _prices(config))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    _show(str(outcomes), figures)
    if figures["fitted_on_these_rows"]:
        typer.echo("The policy was fitted on these very rows: expect worse on others.")


@app.command()
def plot(
    outcomes: Outcomes,
    policy: Policy,
    out: Annotated[Path, typer.Option(help="PNG file.")],
    config: Config = None,
) -> None:
    """Draw reliability, risk against coverage, and quality against cost."""
    from serve_app.training.cascade.plots import plot as draw

    read, table = _read(policy, outcomes)
    draw(read, table, _prices(config), out)
    typer.echo(f"Written to {out}.")


def _read(policy: Path, outcomes: Path) -> "tuple[CascadePolicy, Table]":
    from serve_app.confidence.policy import read
    from serve_app.training.cascade import read_attempts, tabulate

    found = read(policy)
    return found, tabulate(read_attempts(outcomes), found.checkpoints)


def _targets(routes: list[str]) -> dict[str, float]:
    """`legal=.1` and its like; a mistake is a usage error."""
    found = {}
    for written in routes:
        name, _, share = written.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            name = ""
        if not name:
            raise typer.BadParameter(
                f"{written!r} is no target of a route; write it like legal=.1", param_hint="--route"
            )
    if len(found) < len(routes):
        raise typer.BadParameter("a route is given twice; give each once", param_hint="--route")
    return found


def _prices(config: str | None) -> "Prices":
    from serve_app.config import load
    from serve_app.training.cascade import prices_of

    return prices_of(load(config))


def _show(title: str, figures: dict[str, Any]) -> None:
    """Two tables that fit a narrow terminal: how good the models are, and what the thresholds do."""
    from rich.console import Console

    console = Console()
    models = _table(f"{title}: models", ("acceptable", "ECE", "Brier", "AUROC", "AURC"))
    decisions = _table(f"{title}: decisions", ("rows", "target", "accepted", "risk", "risk 95 %", "after tokens"))
    for found in figures["routes"]:
        name = found["route"] or "unrouted"
        name += f" {found['adapter_version'][:8]}" if found["adapter_version"] else ""
        measured = [_figure(found.get(column)) for column in ("ece", "brier", "auroc", "aurc")]
        models.add_row(name, _percent(found["acceptable_share"]), *measured)
        low, high = found["risk_95"] or (None, None)
        decisions.add_row(
            name,
            str(found["rows"]),
            _percent(found.get("alpha")),
            _percent(found["accepted_share"]),
            _percent(found["risk"]),
            "–" if low is None else f"{_percent(low)} to {_percent(high)}",
            f"{found['judged_tokens']:.1f}",
        )
    console.print(models)
    console.print(decisions)
    console.print(_summary(figures["all"]), soft_wrap=True)


def _table(title: str, columns: tuple[str, ...]) -> "RichTable":
    from rich.table import Table as RichTable

    table = RichTable(title=title, show_edge=False)
    table.add_column("route")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _summary(total: dict[str, Any]) -> str:
    """One sentence over all routes."""
    parts = [f"All: {_percent(total['accepted_share'])} accepted after {total['judged_tokens']:.1f} tokens on average"]
    if total["quality"] is not None:
        small, large = _figure(total["quality_always_small"]), _figure(total["quality_always_large"])
        parts.append(f"mean score {total['quality']:.3f} (always-small {small}, always-large {large})")
    if total.get("saved_share") is not None:
        parts.append(f"{_percent(total['saved_share'])} cheaper than always-large")
    return "; ".join(parts) + "."


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _explain(policy: "CascadePolicy") -> None:
    """A sentence for each route: what it keeps, or what it lacks."""
    for found in policy.routes:
        if found.alpha is None:
            typer.echo(f"{found.name}: set by the budget; no risk is promised.")
        elif found.threshold is not None:
            promise = (
                f"at most {found.alpha:.1%} of accepted answers wrong with probability {1 - (found.delta or 0):.1%}"
            )
            typer.echo(f"{found.name}: accepts above {found.threshold:.3f}; {promise} (bound {found.risk_bound:.1%}).")
        else:
            typer.echo(f"{found.name}: refused, escalates all. {_lack(found.num_labels + found.model_labels, found)}")


def _lack(num_rows: int, found: Any) -> str:
    if found.needed_labels is None:
        return (
            f"Even by the lower confidence bound, every threshold's risk is above {found.alpha:.1%}: more labels would "
            "not help, a better small model or a higher target would."
        )
    return (
        f"It cannot be told yet whether {found.alpha:.1%} can be kept: it has {num_rows} labelled rows; label more, "
        f"about {found.needed_labels} in all (rough)."
    )
