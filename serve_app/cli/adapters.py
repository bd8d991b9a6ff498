"""`headrace adapters`: what is shipped, whether a folder can be served, data, training, a server's adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli import adapters_live
from serve_app.cli.options import AdminKey, Json

if TYPE_CHECKING:
    from serve_app.adapters import AdapterSpec
    from serve_app.training.routed import Labeller
    from serve_app.training.run import Trained

app = typer.Typer(help="LoRA adapters: list, check, prepare data for, train, serve.", no_args_is_help=True)
adapters_live.mount(app)

DEFAULT_BASE = "smollm2-135m-instruct"

Metric = Literal["loss", "exact", "template", "token_f1", "rouge_l", "verdict", "choice"]
Schedule = Literal["cosine", "linear"]
Dtype = Literal["auto", "bfloat16", "float32"]
Base = Annotated[str, typer.Option(help="Catalogue name or folder of the base model.")]


@app.command("list")
def list_adapters(
    url: Annotated[str | None, typer.Option(help="Address of a server, whose adapters are shown.")] = None,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Show the adapters that come with this package, or with --url those of a running server."""
    if url is not None:
        adapters_live.list_served(url, key, as_json)
        return
    from serve_app import adapters

    specs = [adapters.load(adapters.shipped(name)) for name in adapters.shipped_names()]
    if as_json:
        typer.echo(json.dumps([_spec_record(spec) for spec in specs]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "version", "base", "rank", "description", box=None)
    for spec in specs:
        table.add_row(spec.name, spec.version, spec.base_model or "", str(spec.rank), spec.manifest.description)
    Console().print(table)


@app.command()
def verify(
    paths: Annotated[list[str], typer.Argument(metavar="FOLDER|NAME...", help="Adapter folders or shipped names.")],
    base: Base = DEFAULT_BASE,
    base_override: Annotated[
        bool, typer.Option("--base-override", help="Accept an adapter of another base whose shapes fit; unverified.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check adapter folders the way a server does: format, finite weights, base and shapes."""
    from serve_app import adapters, catalogue

    files = catalogue.resolve(base)
    folders = []
    for path in paths:
        is_shipped = path in adapters.shipped_names()
        if is_shipped and Path(path).is_dir():
            raise typer.BadParameter(
                f"{path} is a folder here and a shipped adapter; write ./{path} or shipped:{path}."
            )
        name = path.removeprefix("shipped:")
        folders.append(adapters.shipped(name) if is_shipped or name != path else Path(path))
    specs = [adapters.verify(adapters.load(folder), files, base_override) for folder in folders]
    if as_json:
        typer.echo(json.dumps([_spec_record(spec) for spec in specs]))
        return
    for spec in specs:
        state = "verified" if spec.verified else "unverified: no digest ties it to this base"
        typer.echo(f"{spec.name} {spec.version}: can be served on {files.alias} ({state}).")


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Which specialist's recipe: legal, medical, code or support.")],
    data_dir: Annotated[Path, typer.Option(help="Folder of the public data sets.")],
    out: Annotated[Path, typer.Option(help="Folder for training rows, held-out rows and manifest.")],
    as_json: Json = False,
) -> None:
    """Make a specialist's training and held-out rows from public data; the same data gives the same bytes."""
    from serve_app.training.dataset import write_prepared
    from serve_app.training.specialists import recipe

    prepared = recipe(name)(data_dir)
    write_prepared(prepared, data_dir, out)
    figures = {"out": str(out), "train_rows": len(prepared.train), "evaluation_rows": len(prepared.evaluation)}
    if as_json:
        typer.echo(json.dumps(figures | {"notes": prepared.notes}))
        return
    typer.echo(f"{out}: {len(prepared.train)} training rows, {len(prepared.evaluation)} held-out rows.")
    typer.echo("\n".join(f"  {note}" for note in prepared.notes))


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="JSONL of prompt/completion or messages, or a folder made by `prepare`.")],
    out: Annotated[Path, typer.Option(help="New folder for the adapter; NAME.run beside it holds checkpoints.")],
    base: Base = DEFAULT_BASE,
    evaluation: Annotated[Path | None, typer.Option("--eval", help="Held-out JSONL, scored before and after.")] = None,
    metric: Annotated[Metric, typer.Option(help="For held-out rows that name none.")] = "loss",
    system_prompt: Annotated[str | None, typer.Option(help="Put before every row, and into the manifest.")] = None,
    rank: Annotated[int, typer.Option(help="Of the LoRA matrices.")] = 16,
    alpha: Annotated[float, typer.Option(help="Scale is alpha / rank.")] = 32.0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    schedule: Annotated[Schedule, typer.Option(help="Of the learning rate, after a warm-up.")] = "cosine",
    epochs: Annotated[float, typer.Option(help="Passes over the data.")] = 1.0,
    tokens: Annotated[int | None, typer.Option(help="Non-pad tokens to train on; in place of --epochs.")] = None,
    rows_per_step: Annotated[int, typer.Option(help="Rows between two updates.")] = 16,
    max_length: Annotated[int, typer.Option(help="Longest row, in tokens.")] = 1024,
    validation: Annotated[Path | None, typer.Option(help="JSONL whose loss is followed while training.")] = None,
    validation_share: Annotated[float, typer.Option(help="Or so much of the training rows, held back.")] = 0.0,
    validate_every: Annotated[int, typer.Option(help="Steps between two validations.")] = 20,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many validations without a lower loss; the best weights are kept.")
    ] = None,
    packing: Annotated[bool, typer.Option(help="Rows flat, shared beginnings once; the same result, faster.")] = True,
    seed: Annotated[int, typer.Option(help="Of initial weights, row order and bootstrap.")] = 0,
    dtype: Annotated[Dtype, typer.Option(help="auto times both and takes the faster.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")] = None,
    eval_max_tokens: Annotated[int, typer.Option(min=1, help="Longest generated answer when scoring.")] = 64,
    eval_rows: Annotated[int | None, typer.Option(min=1, help="Score at most so many rows of each group.")] = None,
    as_routed: Annotated[
        bool, typer.Option("--as-routed", help="Also report the figures behind the shipped router; NAME is a label.")
    ] = False,
    with_passages: Annotated[
        str | None,
        typer.Option(
            metavar="rows|STORE",
            help="Put passages before the questions: the rows' own, or those that a document store finds.",
        ),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Of the store; default: default.")] = None,
    passages: Annotated[int | None, typer.Option(help="Most a row; default: as in serving.")] = None,
    passage_tokens: Annotated[int | None, typer.Option(help="Most of a row together; default: as in serving.")] = None,
    without_right: Annotated[
        float | None,
        typer.Option(help="Share of the training rows that get no passage with the answer; default: 0.2."),
    ] = None,
    note: Annotated[list[str] | None, typer.Option(help="A sentence for the card; may be given several times.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    as_json: Json = False,
) -> None:
    """Train a LoRA adapter; scores held-out rows before and after, and writes a card."""
    from serve_app.cli.training_progress import TrainingProgress, use_torch
    from serve_app.training.dataset import read_dataset

    if with_passages is None and any(one is not None for one in (collection, passages, passage_tokens, without_right)):
        raise typer.BadParameter(
            "--collection, --passages, --passage-tokens and --without-right go with --with-passages."
        )
    dataset = read_dataset(data, evaluation, system_prompt, validation)
    use_torch(threads, device)
    from serve_app.catalogue import resolve
    from serve_app.training.evaluate import EvaluationOptions
    from serve_app.training.options import TrainOptions
    from serve_app.training.run import run

    options = TrainOptions(
        rank=rank, alpha=alpha, learning_rate=lr, schedule=schedule, epochs=epochs, token_budget=tokens,
        rows_per_step=rows_per_step, max_length_tokens=max_length, seed=seed, dtype=dtype, device=device,
        validation_share=validation_share, validate_every_steps=validate_every, patience=patience, packing=packing,
    )  # fmt: skip
    scoring = EvaluationOptions(
        metric=metric, max_new_tokens=eval_max_tokens, rows_per_group=eval_rows, max_length_tokens=max_length
    )
    files = resolve(base)
    mixed = None
    if with_passages is not None:
        from serve_app.cli.training_passages import plan

        share = 0.2 if without_right is None else without_right
        mixed = plan(with_passages, collection or "default", files, passages, passage_tokens, share, seed)
    with TrainingProgress(visible=not as_json) as watch:
        labeller = _labeller() if as_routed else None
        trained = run(files, dataset, out, options, scoring, watch, resume, labeller, note or [], passages=mixed)
    if as_json:
        typer.echo(json.dumps(_trained_record(trained)))
    else:
        _print_trained(trained)


def _labeller() -> Labeller:
    """The shipped router's label of each text."""
    from serve_app.cli.router import encoder_of
    from serve_app.router import DomainRouter, shipped

    router = DomainRouter.load(shipped(), encoder_of(None))
    return lambda texts: [score.label for score in router.score_texts(texts)]


def _spec_record(spec: AdapterSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "path": str(spec.path),
        "rank": spec.rank,
        "alpha": spec.alpha,
        "target_modules": list(spec.target_modules),
        "base_model": spec.base_model,
        "base_digest": spec.base_digest,
        "verified": spec.verified,
        "description": spec.manifest.description,
    }


def _trained_record(trained: Trained) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "out": str(trained.out),
        "steps": trained.result.num_steps,
        "tokens": trained.result.num_tokens,
        "tokens_per_s": trained.result.tokens_per_s,
        "planned_steps": trained.result.num_planned_steps,
        "best_step": trained.result.best_step,
        "validations": [list(one) for one in trained.result.validations],
        "evaluation": [asdict(one) | {"better": one.better} for one in trained.comparisons],
        "rows_left_out_as_too_long": list(trained.too_long),
        "completions_cut": trained.num_cut,
    }


def _print_trained(trained: Trained) -> None:
    from rich.console import Console
    from rich.table import Table

    result = trained.result
    typer.echo(
        f"{trained.out}: {result.num_steps} steps, {result.num_tokens} tokens, {result.tokens_per_s:.0f} tokens/s."
    )
    if result.best_step is not None:
        typer.echo(
            f"The weights are those of step {result.best_step}, the best of {len(result.validations)} validations."
        )
    if trained.too_long:
        typer.echo(f"{len(trained.too_long)} rows left out as too long, the first at {trained.too_long[0]}.")
    if trained.num_cut:
        typer.echo(f"{trained.num_cut} completions cut at the maximum length.")
    table = Table("group", "metric", "rows", "before", "after", "change, 95 % interval", box=None)
    for one in trained.comparisons:
        change = f"{one.after - one.before:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        table.add_row(one.group, one.metric, str(one.num_rows), f"{one.before:.3f}", f"{one.after:.3f}", change)
    if trained.comparisons:
        Console().print(table)
