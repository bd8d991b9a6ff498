"""Mounts the sub-commands and turns Headrace's errors into one sentence."""

import sys
from typing import Annotated

import typer

from serve_app import __version__
from serve_app.cli import (
    adapters,
    ask,
    bill,
    cache,
    cascade,
    check,
    deploy_config,
    distill,
    doctor,
    estimate,
    gain,
    keys,
    label,
    ledger,
    models,
    rag,
    reference,
    reprice,
    router,
    serve,
)
from serve_app.core import HeadraceError

app = typer.Typer(
    name="headrace",
    help="Many fine-tuned models served for the price of a small one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
router.app.command("gain-train")(gain.gain_train)
app.add_typer(router.app, name="router")
app.add_typer(adapters.app, name="adapters")
app.add_typer(cascade.app, name="cascade")
app.add_typer(distill.app, name="distill")
ledger.app.command()(reprice.reprice)
ledger.app.command()(bill.bill)
app.add_typer(ledger.app, name="ledger")
app.add_typer(keys.app, name="keys")
app.add_typer(cache.app, name="cache")
app.add_typer(rag.app, name="rag")
app.add_typer(reference.app, name="reference")
app.command("serve")(serve.serve)
app.command("deploy-config")(deploy_config.deploy_config)
app.command("ask")(ask.ask)
app.command("label")(label.label)
app.command("doctor")(doctor.doctor)
app.command("check")(check.check)
app.command("record")(check.record)
app.command("estimate")(estimate.estimate)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Headrace: router, LoRA specialists, cascade and ledger on Ray Serve."""


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except HeadraceError as error:
        typer.echo(f"headrace: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output left, as in `headrace … | head`
    except OSError as error:
        where = f"{error.filename} cannot be used" if error.filename else "The system refused"
        typer.echo(f"headrace: {where}: {error.strerror or error}; check path, permissions and disk space.", err=True)
        sys.exit(1)
