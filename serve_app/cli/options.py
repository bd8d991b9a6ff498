"""Options that several commands have, and what is common to reading values from a command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

ServerUrl = Annotated[str, typer.Option(help="Address of the server.", envvar="HEADRACE_URL")]
ApiKey = Annotated[str | None, typer.Option(help="API key.", envvar="HEADRACE_API_KEY", show_envvar=True)]
AdminKey = Annotated[str | None, typer.Option(help="Admin key.", envvar="HEADRACE_ADMIN_KEY", show_envvar=True)]

Ledger = Annotated[str | None, typer.Option(help="File or database URL; default: ledger.url of the settings.")]
Since = Annotated[str | None, typer.Option(help="Start: 2026-03-01, 2026-03-01T09:30 (UTC), 24h or 7d.")]
Until = Annotated[str | None, typer.Option(help="End, exclusive; written like --since; default: now.")]

Encoder = Annotated[
    str | None, typer.Option(help="Catalogue name or folder of the encoder; default: router.encoder of the settings.")
]


def parse_pairs(written: list[str], option: str, example: str) -> dict[str, Any]:
    """`NAME=VALUE` of an option that may be given several times; a mistake is a usage error that shows the example.

    >>> parse_pairs(["tolerance=.01"], "--option", "tolerance=.01")
    {'tolerance': '.01'}
    """
    found: dict[str, Any] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{one!r} is no NAME=VALUE; write it like {example}", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice; give it once", param_hint=option)
        found[name] = value
    return found


def check_output(out: Path, option: str, *inputs: Path, replaces: bool = True) -> None:
    """Say before the work, not after it, that a file cannot be written; `inputs` are never written over.

    `replaces`: whether a file that is there may be. Raises typer.BadParameter.
    """
    if any(out.resolve() == one.resolve() for one in inputs):
        raise typer.BadParameter(f"{out} is what is read; name another file", param_hint=option)
    if out.is_dir():
        raise typer.BadParameter(f"{out} is a folder; name a file", param_hint=option)
    if not out.resolve().parent.is_dir():
        raise typer.BadParameter(f"{out.resolve().parent} is not there; make it first", param_hint=option)
    if not replaces and out.exists():
        raise typer.BadParameter(f"{out} is there already; move it away, or name another file", param_hint=option)
