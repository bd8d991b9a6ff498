"""`headrace doctor`: can this machine run it?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from serve_app.cli.options import Json


def doctor(
    config: Annotated[
        str | None, typer.Option("--config", help="Settings file or profile; default: HEADRACE_CONFIG, else demo.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at this machine: Python, cores, memory, disk, port, GPU, compiler, models; exit 1 where it cannot serve."""
    from serve_app.checklist.doctor import examine
    from serve_app.config import load

    symptoms = examine(load(config))
    if as_json:
        typer.echo(json.dumps({"machine": [{"name": one.name, **asdict(one.finding)} for one in symptoms]}, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table

        from serve_app.cli.check import said, verdict

        table = Table(box=None, pad_edge=False, show_header=False)
        for one in symptoms:
            table.add_row(one.name, verdict(one.finding.status), said(one.finding.evidence, one.finding.fix))
        Console().print(table)
    if any(one.finding.status == "fail" for one in symptoms):
        raise typer.Exit(1)
