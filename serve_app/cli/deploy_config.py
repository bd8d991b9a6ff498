"""`headrace deploy-config`: the Serve config file of a graph, from a settings file."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.options import check_output
from serve_app.core.files import write_whole


def deploy_config(
    graph: Annotated[
        str, typer.Option(help="Which graph: production, cascade, router, multi_lora, ensemble or rag.")
    ] = "production",
    config: Annotated[
        str, typer.Option(help="Settings: a packaged profile, or a path that is the same on every node.")
    ] = "cluster",
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Write what `serve deploy` takes: resources, replica bounds and the autoscaling policy of each deployment."""
    from serve_app.config import config_path, load, profiles
    from serve_app.config.serve import deploy_yaml

    named = config if config in profiles() else str(config_path(config).absolute())
    text = deploy_yaml(load(config), graph, named)
    if out is None:
        typer.echo(text, nl=False)
    else:
        check_output(out, "--out", *([] if config in profiles() else [config_path(config)]))
        write_whole(out, text)
        typer.echo(f"Written to {out}: `serve deploy {out}` deploys it.")
